"""Create the table of idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.create_table(
        "idempotency_key",
        sa.Column("scope", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("claim", sa.Uuid(), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("recipe_id", sa.Uuid(), sa.ForeignKey("recipe.id", ondelete="CASCADE"), nullable=True, index=True),
    )


def downgrade() -> None:
    """Return to the previous revision."""
    op.drop_table("idempotency_key")
