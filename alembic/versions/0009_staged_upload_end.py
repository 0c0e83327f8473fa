"""Keep the rows of staged uploads after their end, with their recipes; record their buckets."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade to this revision. The previous release keeps working: it deletes rows instead of marking their end."""
    op.add_column("staged_upload", sa.Column("bucket", sa.Text(), nullable=True))
    op.add_column("staged_upload", sa.Column("recipe_id", sa.Uuid(), nullable=True))
    op.add_column("staged_upload", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Return to the previous revision, which would mistake ended uploads for open ones."""
    op.execute("DELETE FROM staged_upload WHERE ended_at IS NOT NULL OR recipe_id IS NOT NULL")
    for name in ("ended_at", "recipe_id", "bucket"):
        op.drop_column("staged_upload", name)
