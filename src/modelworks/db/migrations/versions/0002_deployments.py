"""Deployments, their revisions and events, routes, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.String(40)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)


def _at() -> tuple[sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
    )


def _desired(table: str, *columns: sa.Column[str] | sa.Column[int]) -> None:
    op.create_table(
        table,
        _tenant(),
        sa.Column("name", NAME, nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("tenant", "name", name=f"pk_{table}"),
    )


def upgrade() -> None:
    _desired(
        "deployments",
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("serving", sa.Integer(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.String(255), nullable=False),
    )
    _desired("routes")
    op.create_table(
        "revisions",
        _tenant(),
        sa.Column("deployment", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("model", sa.JSON(), nullable=False),
        sa.Column("image", sa.String(512), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "deployment", "number", name="pk_revisions"),
        sa.ForeignKeyConstraint(
            ["tenant", "deployment"],
            ["deployments.tenant", "deployments.name"],
            name="fk_revisions_tenant_deployment",
        ),
    )
    op.create_table(
        "deployment_events",
        _tenant(),
        sa.Column("deployment", NAME, nullable=False),
        *_at(),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "deployment", "id", name="pk_deployment_events"),
    )
    op.create_table(
        "deployment_locks",
        _tenant(),
        sa.Column("deployment", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "deployment", name="pk_deployment_locks"),
    )
    op.create_table(
        "audit",
        _tenant(),
        *_at(),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_audit"),
    )
    op.create_index("ix_audit_tenant_subject", "audit", ["tenant", "subject"])


def downgrade() -> None:
    for name in (
        "audit",
        "deployment_locks",
        "deployment_events",
        "revisions",
        "routes",
        "deployments",
    ):
        op.drop_table(name)
