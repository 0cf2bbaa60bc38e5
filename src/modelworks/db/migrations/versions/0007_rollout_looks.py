"""Looks at roll-outs that are kept, for their report."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollout_looks",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("rollout", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "rollout", "number", name="pk_rollout_looks"),
        sa.ForeignKeyConstraint(
            ["tenant", "rollout"],
            ["rollouts.tenant", "rollouts.name"],
            name="fk_rollout_looks_tenant_rollout",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("rollout_looks")
