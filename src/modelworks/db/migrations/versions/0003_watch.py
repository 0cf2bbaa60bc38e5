"""Series over time, how far the watch has come, and the references of versions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)


def upgrade() -> None:
    op.create_table(
        "series_chunks",
        _tenant(),
        sa.Column("part", sa.String(32), nullable=False),
        sa.Column("resolution", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "part", "resolution", "model", "start", name="pk_series_chunks"
        ),
    )
    op.create_table(
        "watch_duties",
        _tenant(),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("ran_ns", sa.BigInteger(), nullable=False),
        sa.Column("took_ns", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_watch_duties"),
    )
    op.create_table(
        "model_references",
        _tenant(),
        sa.Column("model", sa.String(128), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("major", "minor", "patch")),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant", "model", "major", "minor", "patch", name="pk_model_references"
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "model", "major", "minor", "patch"],
            [
                "versions.tenant",
                "versions.model",
                "versions.major",
                "versions.minor",
                "versions.patch",
            ],
            name="fk_model_references_tenant_model_major_minor_patch",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    for name in ("model_references", "watch_duties", "series_chunks"):
        op.drop_table(name)
