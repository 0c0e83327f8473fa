"""Add the table of how much each client has used of its quotas."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.create_table(
        "client_usage",
        sa.Column("client", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uploads_restored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bytes_restored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client"),
    )


def downgrade() -> None:
    """Return to the previous revision, which has no quotas."""
    op.drop_table("client_usage")
