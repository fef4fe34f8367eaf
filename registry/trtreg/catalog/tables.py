"""The catalog's tables, the same in SQLite and in PostgreSQL.

    models ─< versions ─< samples
      └────< aliases >─┘            engines            leases, failures, builds

Records (facts, manifests) are kept as their canonical JSON text and read strictly; what is searched for has a
column of its own. A change here needs a migration in `trtreg_migrations`, and `SCHEMA` raised to its revision.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect

SCHEMA = "0005"
"""The migration that makes these tables. Written here so that a current catalog opens without importing Alembic."""


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zone, and PostgreSQL answers in the session's; both come back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None or value.tzinfo is not None:
            return value and value.astimezone(UTC)
        return value.replace(tzinfo=UTC)


class _Told(TypeDecorator[str]):
    """What builders and models said. PostgreSQL keeps no NUL, and no database half a character: a failure must not fail
    for its own words."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return value and value.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _word(length: int) -> String:
    # Ordered by bytes: a locale that sorts "aa" behind "z" would break the search by a key's first digits.
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def begins_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """What begins so in a column of hexadecimal digits ordered by bytes, by its index: `g` lies behind them all."""
    return column.between(prefix, f"{prefix}g")


_NAME = _word(100)
_DIGEST = _word(64)
_SUBJECT = _word(200)
# SQLite counts up by itself only in a column declared INTEGER, which has 64 bits there.
_ID = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# One row: the schema of the oldest code that may use these tables. A migration that only adds leaves it; one that takes
# something away, which older code needs, raises it to the first schema whose code didn't.
compatibility = Table("compatibility", metadata, Column("oldest_code", String(32), nullable=False))

# An index of what the store has: `revision` says which record of it. 0 is a model from before models were kept in the
# store. One stays when its last version is removed: `last_version` sees to it that no number is given twice.
models = Table(
    "models",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("last_version", Integer, nullable=False),
    Column("tolerance", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0")),
)

versions = Table(
    "versions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("facts", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("added_at", UtcTime, nullable=False),
    UniqueConstraint("model_id", "version"),
    UniqueConstraint("model_id", "digest"),
    Index(None, "digest"),
)

# No cascade: a version that an alias needs can't go, whoever tries.
aliases = Table(
    "aliases",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("alias", _NAME, primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    Index(None, "model_id", "version"),
)

samples = Table(
    "samples",
    metadata,
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _NAME, primary_key=True),
    Column("file_name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", _DIGEST, nullable=False),
)

# An engine's age is the order of its id: the clocks of many hosts disagree. `state` has no CHECK constraint, so
# that a release can add a state without rebuilding the table under those that run the release before.
engines = Table(
    "engines",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("key", _DIGEST, nullable=False),
    Column("plan_digest", _DIGEST, nullable=False),
    Column("model_digest", _DIGEST, nullable=False),
    Column("state", String(20), nullable=False),
    Column("blessed", Boolean, nullable=False, server_default=false()),
    Column("precision", String(20), nullable=False),
    Column("runtime", String(40), nullable=False),
    Column("runtime_version", String(100), nullable=False),
    Column("architecture", Text, nullable=False),
    Column("build_seconds", Float),
    Column("plan_size", BigInteger, nullable=False),
    Column("key_schema", Integer, nullable=False),
    Column("manifest_schema", Integer, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("key", "plan_digest"),
    Index(None, "model_digest", "state", "id"),
    Index(None, "state", "id"),
)
Index(
    "uq_engines_blessed", engines.c.key, unique=True, sqlite_where=engines.c.blessed, postgresql_where=engines.c.blessed
)

# Times of leases are the database's own, in seconds since 1970: both databases reckon with them alike. A row stays
# when its lease is released, so that its token goes on growing.
leases = Table(
    "leases",
    metadata,
    Column("subject", _SUBJECT, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("phase", Text, nullable=False),
    Column("taken_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Index(None, "expires_at"),
)

failures = Table(
    "failures",
    metadata,
    Column("subject", _SUBJECT, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("message", _Told, nullable=False),
    Column("hint", _Told, nullable=False),
    Column("host", Text, nullable=False),
    Column("allowed", Float, nullable=False),
    Column("failed_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# One build of a key at a time may be wanted or run: whoever asks for it again joins it.
builds = Table(
    "builds",
    metadata,
    Column("id", _word(32), primary_key=True),
    Column("key", _DIGEST, nullable=False),
    Column("request", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("retry", Boolean, nullable=False),
    Column("state", String(20), nullable=False),
    Column("worker", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("message", _Told, nullable=False),
    Column("hint", _Told, nullable=False),
    Column("log", _Told, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("sent_at", Float, nullable=False),
    Column("begun_at", Float),
    Column("ended_at", Float),
    Index(None, "state", "sent_at"),
    Index(None, "asked_at", "id"),
    Index(None, "key"),
)
_LIVE_BUILD = builds.c.state.in_(("wanted", "running"))
Index("uq_builds_live", builds.c.key, unique=True, sqlite_where=_LIVE_BUILD, postgresql_where=_LIVE_BUILD)
