"""Run by Alembic for every migration, on a connection that `trtreg.catalog.migration` has opened and locked.

The transaction around it is the caller's, so that a migration is done wholly or not at all, on SQLite, too.
"""

from __future__ import annotations

from alembic import context

from trtreg.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_server_default=True,
    # SQLite can't alter most of a table: a copy takes its place.
    render_as_batch=True,
)
context.run_migrations()
