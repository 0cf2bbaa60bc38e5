"""What all tables have in common."""

from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKeyConstraint, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DIGEST = String(71)
"""`sha256:` and 64 hex digits."""

_NUMBER = ("tenant", "model", "major", "minor", "patch")


class Base(DeclarativeBase):
    """Root of the mapped rows. Constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: String(255),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class TenantRow:
    """What every row has: the tenant it belongs to. `TenantSession` fills and filters it."""

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True, sort_order=-100)


class VersionNumber:
    """The three numbers of a version, as columns that sort."""

    major: Mapped[int] = mapped_column(Integer, primary_key=True)
    minor: Mapped[int] = mapped_column(Integer, primary_key=True)
    patch: Mapped[int] = mapped_column(Integer, primary_key=True)


def of_version(ondelete: str | None = None) -> ForeignKeyConstraint:
    """A row that belongs to a version."""
    return ForeignKeyConstraint(
        _NUMBER, [f"versions.{name}" for name in _NUMBER], ondelete=ondelete
    )
