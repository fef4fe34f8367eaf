"""Models, their versions, aliases and samples; engines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
_DIGEST = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_models()
    _create_engines()


def downgrade() -> None:
    for table in ("engines", "samples", "aliases", "versions", "models"):
        op.drop_table(table)


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("tolerance", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
    )
    op.create_table(
        "versions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("model_id", _ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_versions_models"),
        sa.UniqueConstraint("model_id", "version", name="uq_versions_model_id_version"),
        sa.UniqueConstraint("model_id", "digest", name="uq_versions_model_id_digest"),
    )
    op.create_table(
        "aliases",
        sa.Column("model_id", _ID, nullable=False),
        sa.Column("alias", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "alias", name="pk_aliases"),
        sa.ForeignKeyConstraint(
            ["model_id", "version"], ["versions.model_id", "versions.version"], name="fk_aliases_versions"
        ),
    )
    op.create_index("ix_aliases_model_id_version", "aliases", ["model_id", "version"])
    op.create_table(
        "samples",
        sa.Column("version_id", _ID, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", _DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("version_id", "name", name="pk_samples"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_samples_versions", ondelete="CASCADE"),
    )


def _create_engines() -> None:
    op.create_table(
        "engines",
        sa.Column("id", _ID, nullable=False),
        sa.Column("key", _DIGEST, nullable=False),
        sa.Column("plan_digest", _DIGEST, nullable=False),
        sa.Column("model_digest", _DIGEST, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("blessed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("precision", sa.String(20), nullable=False),
        sa.Column("runtime", sa.String(40), nullable=False),
        sa.Column("runtime_version", sa.String(100), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("build_seconds", sa.Float(), nullable=True),
        sa.Column("plan_size", sa.BigInteger(), nullable=False),
        sa.Column("key_schema", sa.Integer(), nullable=False),
        sa.Column("manifest_schema", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_engines"),
        sa.UniqueConstraint("key", "plan_digest", name="uq_engines_key_plan_digest"),
    )
    op.create_index("ix_engines_model_digest_state_id", "engines", ["model_digest", "state", "id"])
    op.create_index("ix_engines_state_id", "engines", ["state", "id"])
    op.create_index(
        "uq_engines_blessed",
        "engines",
        ["key"],
        unique=True,
        sqlite_where=sa.text("blessed = 1"),
        postgresql_where=sa.text("blessed"),
    )
