"""Which code may go on using the tables; indices for what a large catalog is asked.

They are made within the transaction: who writes to `versions` and who uses `builds` waits for it meanwhile;
docs/postgresql.md has how long that is. The index of `builds` that goes must go first: dropping it takes the whole
table, and to ask for more of a table than one has already is to wait for those who wait for oneself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REVISION = sa.String(32)


def upgrade() -> None:
    oldest = op.create_table("compatibility", sa.Column("oldest_code", _REVISION, nullable=False))
    op.bulk_insert(oldest, [{"oldest_code": "0004"}])
    op.create_index("ix_versions_digest", "versions", ["digest"])
    op.drop_index("ix_builds_asked_at", "builds")
    # Together with the id: a page of a listing ends between two builds, whenever they were asked for.
    op.create_index("ix_builds_asked_at_id", "builds", ["asked_at", "id"])
    # Whether a proof was ever asked for is looked up once a minute, for all that waits in quarantine.
    op.create_index("ix_builds_key", "builds", ["key"])


def downgrade() -> None:
    op.drop_index("ix_builds_key", "builds")
    op.drop_index("ix_builds_asked_at_id", "builds")
    op.create_index("ix_builds_asked_at", "builds", ["asked_at"])
    op.drop_index("ix_versions_digest", "versions")
    op.drop_table("compatibility")
