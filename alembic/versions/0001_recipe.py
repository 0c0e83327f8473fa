"""Create the table of recipes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision."""
    op.create_table(
        "recipe",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(collation="C"), nullable=False, unique=True),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("original_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("recipe_created_at_id", "recipe", ["created_at", "id"])


def downgrade() -> None:
    """Return to the previous revision."""
    op.drop_table("recipe")
