"""Models are kept in the store: the catalog lists them, and says which revision of the store's record it has listed.

What was in the catalog before has revision 0. `trtreg.models.indexing` writes it into the store, when it is first asked
for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("revision", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("models") as models:
        models.drop_column("revision")
