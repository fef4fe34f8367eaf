"""Names, versions, aliases, samples and engines in a SQL database. Importing it loads no SQLAlchemy."""
