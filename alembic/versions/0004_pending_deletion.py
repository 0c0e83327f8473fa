"""Add the bucket of each recipe's object, and a table of objects that are still to be deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working and leaves the new column empty."""
    op.add_column("recipe", sa.Column("bucket", sa.Text(), nullable=True))
    op.create_table(
        "pending_deletion",
        sa.Column("key", sa.Text(collation="C"), primary_key=True),
        sa.Column("bucket", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False, index=True),
    )


def downgrade() -> None:
    """Return to the previous revision. Objects that are still to be deleted become orphans, which the sweep finds."""
    op.drop_table("pending_deletion")
    op.drop_column("recipe", "bucket")
