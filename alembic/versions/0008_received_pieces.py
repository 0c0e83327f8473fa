"""Let staged uploads have an unknown size and pieces of varying size, which the service may receive itself."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working, but cannot read uploads of the new shapes."""
    op.alter_column("staged_upload", "size", existing_type=sa.BigInteger(), nullable=True)
    op.alter_column("staged_upload", "piece_size", existing_type=sa.Integer(), nullable=True)
    op.add_column("staged_upload", sa.Column("piece_sizes", sa.ARRAY(sa.Integer()), nullable=True))
    op.add_column("staged_upload", sa.Column("piece_claims", sa.ARRAY(sa.Uuid()), nullable=True))
    op.add_column("staged_upload", sa.Column("upload_metadata", sa.Text(), nullable=True))
    op.add_column("staged_upload", sa.Column("claim", sa.Uuid(), nullable=True))
    op.add_column("staged_upload", sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("staged_upload", sa.Column("release_requested_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Return to the previous revision, without the uploads that its release cannot read."""
    op.execute("DELETE FROM staged_upload WHERE size IS NULL OR piece_size IS NULL")
    op.drop_column("staged_upload", "release_requested_at")
    op.drop_column("staged_upload", "claimed_until")
    op.drop_column("staged_upload", "claim")
    op.drop_column("staged_upload", "upload_metadata")
    op.drop_column("staged_upload", "piece_claims")
    op.drop_column("staged_upload", "piece_sizes")
    op.alter_column("staged_upload", "piece_size", existing_type=sa.Integer(), nullable=False)
    op.alter_column("staged_upload", "size", existing_type=sa.BigInteger(), nullable=False)
