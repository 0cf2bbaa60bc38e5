"""The registry: models, versions, artifacts, aliases with their history, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DIGEST = sa.String(71)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)


def _number() -> tuple[sa.Column[int], ...]:
    return tuple(
        sa.Column(part, sa.Integer(), nullable=False) for part in ("major", "minor", "patch")
    )


def upgrade() -> None:
    op.create_table(
        "models",
        _tenant(),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_models"),
    )
    op.create_table(
        "artifacts",
        _tenant(),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_artifacts"),
    )
    op.create_table(
        "artifact_files",
        _tenant(),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("file_digest", DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", "path", name="pk_artifact_files"),
        sa.ForeignKeyConstraint(
            ["tenant", "digest"],
            ["artifacts.tenant", "artifacts.digest"],
            name="fk_artifact_files_tenant_digest",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_artifact_files_file_digest", "artifact_files", ["file_digest"])
    _versions()
    _aliases()
    op.create_table(
        "leases",
        _tenant(),
        sa.Column("file_digest", DIGEST, nullable=False),
        sa.Column("holder", sa.String(36), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "file_digest", "holder", name="pk_leases"),
    )


def _versions() -> None:
    op.create_table(
        "versions",
        _tenant(),
        sa.Column("model", sa.String(128), nullable=False),
        *_number(),
        sa.Column("artifact", DIGEST, nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("signature", sa.JSON(), nullable=False),
        sa.Column("lineage", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("parent", sa.String(255), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "major", "minor", "patch", name="pk_versions"),
        sa.ForeignKeyConstraint(
            ["tenant", "model"], ["models.tenant", "models.name"], name="fk_versions_tenant_model"
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "artifact"],
            ["artifacts.tenant", "artifacts.digest"],
            name="fk_versions_tenant_artifact",
        ),
    )
    op.create_index("ix_versions_tenant_parent", "versions", ["tenant", "parent"])
    op.create_index("ix_versions_tenant_artifact", "versions", ["tenant", "artifact"])
    op.create_table(
        "retired_versions",
        _tenant(),
        sa.Column("model", sa.String(128), nullable=False),
        *_number(),
        sa.Column("artifact", DIGEST, nullable=False),
        sa.Column("signature", sa.JSON(), nullable=False),
        sa.Column("deleted_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "model", "major", "minor", "patch", name="pk_retired_versions"
        ),
    )


def _aliases() -> None:
    op.create_table(
        "aliases",
        _tenant(),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        *_number(),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "alias", name="pk_aliases"),
        sa.ForeignKeyConstraint(
            ["tenant", "model", "major", "minor", "patch"],
            [
                "versions.tenant",
                "versions.model",
                "versions.major",
                "versions.minor",
                "versions.patch",
            ],
            name="fk_aliases_tenant_model_major_minor_patch",
        ),
    )
    op.create_table(
        "alias_changes",
        _tenant(),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(32), nullable=True),
        sa.Column("previous", sa.String(32), nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(1024), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", "alias", "at_ns", name="pk_alias_changes"),
    )


def downgrade() -> None:
    for name in (
        "leases",
        "alias_changes",
        "aliases",
        "retired_versions",
        "versions",
        "artifact_files",
        "artifacts",
        "models",
    ):
        op.drop_table(name)
