"""All SQL of series. Functions work inside the caller's transaction and never commit."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select

from modelworks.db.session import TenantSession
from modelworks.db.tables import SeriesChunkRow

SKETCHES = "sketches"
"""The part whose chunks hold bytes, not numbers."""

_MANY = 500
"""Models asked for in one statement."""


def rows(
    session: TenantSession, part: str, resolution: int, models: Sequence[str], start: int
) -> dict[str, SeriesChunkRow]:
    """The chunks of some models that begin at one time, to be changed."""
    found: dict[str, SeriesChunkRow] = {}
    for at in range(0, len(models), _MANY):
        statement = select(SeriesChunkRow).where(
            SeriesChunkRow.part == part,
            SeriesChunkRow.resolution == resolution,
            SeriesChunkRow.model.in_(models[at : at + _MANY]),
            SeriesChunkRow.start == start,
        )
        found |= {row.model: row for row in session.scalars(statement)}
    return found


def add(
    session: TenantSession, part: str, resolution: int, model: str, start: int, body: bytes
) -> None:
    """A new chunk."""
    session.add(
        SeriesChunkRow(part=part, resolution=resolution, model=model, start=start, body=body)
    )


def bodies(
    session: TenantSession, part: str, resolution: int, model: str, since: int, until: int
) -> Iterator[Row[str, int, bytes]]:
    """(model, start, body) of the chunks that begin in a time; by model, then time.

    Args:
        session: of the tenant.
        part: which series.
        resolution: seconds of a window.
        model: one; "*" = all.
        since: seconds since 1970, inclusive.
        until: the same.
    """
    statement = (
        select(SeriesChunkRow.model, SeriesChunkRow.start, SeriesChunkRow.body)
        .where(*_within(part, resolution, model, since, until))
        .order_by(SeriesChunkRow.model, SeriesChunkRow.start)
    )
    yield from session.execute(statement)


def bodies_of(
    session: TenantSession,
    part: str,
    resolution: int,
    models: Sequence[str],
    since: int,
    until: int,
) -> Iterator[Row[str, int, bytes]]:
    """`bodies` of some models, in no order."""
    for at in range(0, len(models), _MANY):
        statement = select(SeriesChunkRow.model, SeriesChunkRow.start, SeriesChunkRow.body).where(
            *_within(part, resolution, "*", since, until),
            SeriesChunkRow.model.in_(models[at : at + _MANY]),
        )
        yield from session.execute(statement)


def weigh(
    session: TenantSession, part: str, resolution: int, model: str, since: int, until: int
) -> int:
    """How many chunks `bodies` would read."""
    statement = select(func.count(SeriesChunkRow.start)).where(
        *_within(part, resolution, model, since, until)
    )
    return session.scalar(statement) or 0


def models(session: TenantSession, part: str, resolution: int, since: int, until: int) -> list[str]:
    """The models that have a chunk which begins in a time."""
    statement = (
        select(SeriesChunkRow.model)
        .where(*_within(part, resolution, "*", since, until))
        .distinct()
        .order_by(SeriesChunkRow.model)
    )
    return list(session.scalars(statement))


def expire(session: TenantSession, resolution: int, before: int, *, sketches: bool) -> int:
    """Delete the chunks that began before; how many went."""
    part = SeriesChunkRow.part
    found = session.execute(
        delete(SeriesChunkRow)
        .where(
            SeriesChunkRow.resolution == resolution,
            SeriesChunkRow.start < before,
            part == SKETCHES if sketches else part != SKETCHES,
        )
        .execution_options(synchronize_session=False)
    )
    return int(getattr(found, "rowcount", 0))


def _within(part: str, resolution: int, model: str, since: int, until: int) -> list[Any]:
    conditions = [
        SeriesChunkRow.part == part,
        SeriesChunkRow.resolution == resolution,
        SeriesChunkRow.start >= since,
        SeriesChunkRow.start <= until,
    ]
    return conditions if model == "*" else [*conditions, SeriesChunkRow.model == model]
