"""Index the staged uploads that count against limits and those that can be removed; add `found_by_key`."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working, without the indexes that this one replaces."""
    op.add_column("staged_upload", sa.Column("found_by_key", sa.Boolean(), nullable=True))
    op.create_index(
        "staged_upload_owner",
        "staged_upload",
        ["owner", sa.text("COALESCE(ended_at, expires_at)")],
        postgresql_where=sa.text("ended_at IS NULL OR piece_sizes IS NULL"),
    )
    op.create_index(
        "staged_upload_ended", "staged_upload", ["expires_at"], postgresql_where=sa.text("ended_at IS NOT NULL")
    )
    op.drop_index("ix_staged_upload_owner", "staged_upload")
    op.drop_index("ix_staged_upload_expires_at", "staged_upload")


def downgrade() -> None:
    """Return to the previous revision, which accepts the key of a piece for every upload."""
    op.create_index("ix_staged_upload_expires_at", "staged_upload", ["expires_at"])
    op.create_index("ix_staged_upload_owner", "staged_upload", ["owner"])
    op.drop_index("staged_upload_ended", "staged_upload")
    op.drop_index("staged_upload_owner", "staged_upload")
    op.drop_column("staged_upload", "found_by_key")
