"""How the quality of a model is watched, where its signature does not say so."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quality_plans",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "model", name="pk_quality_plans"),
        sa.ForeignKeyConstraint(
            ["tenant", "model"],
            ["models.tenant", "models.name"],
            name="fk_quality_plans_tenant_model",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("quality_plans")
