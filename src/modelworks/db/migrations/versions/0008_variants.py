"""Optimized forms of versions."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_VERSION = ("tenant", "model", "major", "minor", "patch")


def upgrade() -> None:
    op.create_table(
        "variants",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("patch", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("artifact", sa.String(71), nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("hardware", sa.String(255), nullable=False),
        sa.Column("front", sa.Boolean(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint(*_VERSION, "name", name="pk_variants"),
        sa.ForeignKeyConstraint(
            list(_VERSION),
            [f"versions.{column}" for column in _VERSION],
            name="fk_variants_tenant_model_major_minor_patch",
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "artifact"],
            ["artifacts.tenant", "artifacts.digest"],
            name="fk_variants_tenant_artifact",
        ),
    )
    op.create_index("ix_variants_tenant_artifact", "variants", ["tenant", "artifact"])


def downgrade() -> None:
    op.drop_table("variants")
