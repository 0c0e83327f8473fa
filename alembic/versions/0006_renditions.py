"""Add the renditions and placeholder of each photo, and a table of renderings that are in progress or have failed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working and leaves the new columns and the table empty."""
    op.add_column("recipe", sa.Column("placeholder", sa.Text(), nullable=True))
    op.add_column("recipe", sa.Column("rendition_sizes", sa.ARRAY(sa.Integer()), nullable=True))
    op.create_table(
        "rendering",
        sa.Column("recipe_id", sa.Uuid(), sa.ForeignKey("recipe.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Return to the previous revision. The renditions stay in the bucket, as objects that no row mentions."""
    op.drop_table("rendering")
    op.drop_column("recipe", "rendition_sizes")
    op.drop_column("recipe", "placeholder")
