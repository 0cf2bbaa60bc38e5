"""Alerts: rules as applied, what is known, who was told, silences, what was called."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)


def _document(name: str = "document") -> sa.Column[sa.JSON]:
    return sa.Column(name, sa.JSON(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "alert_documents",
        _tenant(),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        _document(),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", name="pk_alert_documents"),
    )
    op.create_table(
        "alerts",
        _tenant(),
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        _document(),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_alerts"),
    )
    op.create_table(
        "alert_groups",
        _tenant(),
        sa.Column("id", sa.String(32), nullable=False),
        _document(),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_alert_groups"),
    )
    op.create_table(
        "alert_silences",
        _tenant(),
        sa.Column("id", sa.String(36), nullable=False),
        _document("match"),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_alert_silences"),
    )
    op.create_table(
        "alert_calls",
        _tenant(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_ns", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        _document("alert"),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_alert_calls"),
    )


def downgrade() -> None:
    for name in ("alert_calls", "alert_silences", "alert_groups", "alerts", "alert_documents"):
        op.drop_table(name)
