"""Dashboards as data: what is asked, and how it is shown. Plug-ins write them for one system."""

from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: of it.
        queries: expressions in PromQL, each with what its lines are called.
        unit: as Grafana names it: `s`, `reqps`, `percentunit`, `bytes`, `short`.
        text: what it means, and what to do about it.
        lowest: of its axis; None = as the values have it.
        exemplars: traces are shown as points.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    text: str = ""
    lowest: float | None = 0.0
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        uid: the same for ever: a newer file takes the older one's place.
        title: of it.
        text: what it is for.
        rows: of panels.
        variables: name -> query of the values that a reader chooses from.
    """

    uid: str
    title: str
    text: str
    rows: tuple[Row, ...]
    variables: tuple[tuple[str, str], ...] = ()


class BoardWriter(Protocol):
    """Writes dashboards for one system; entry points `modelworks.dashboards`."""

    extra: ClassVar[str]
    experimental: ClassVar[bool]

    def write(self, board: Board) -> str:
        """The file that the system imports."""
        ...
