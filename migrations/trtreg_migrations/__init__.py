"""The Alembic environment and its migrations. `trtreg.catalog.migration` runs them; there is no alembic.ini."""
