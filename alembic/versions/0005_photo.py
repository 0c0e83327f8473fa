"""Add the dimensions of each photo, and whether its metadata was removed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working and leaves the new columns empty."""
    op.add_column("recipe", sa.Column("width", sa.Integer(), nullable=True))
    op.add_column("recipe", sa.Column("height", sa.Integer(), nullable=True))
    op.add_column("recipe", sa.Column("photo_metadata", sa.Text(), nullable=True))


def downgrade() -> None:
    """Return to the previous revision."""
    op.drop_column("recipe", "photo_metadata")
    op.drop_column("recipe", "height")
    op.drop_column("recipe", "width")
