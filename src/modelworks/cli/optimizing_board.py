"""A search as it goes: how much of its time is over, the step under way, the front so far."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from modelworks.cli import human
from modelworks.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from modelworks.optimize.standing import Leader, Standing, Watch

_WIDTH: Final = 24
_A_SECOND: Final = 2  # drawings: what is timed runs in other processes, on the same cores


class Board:
    """What is drawn on a terminal, again and again.

    Args:
        budget_s: seconds that the search may take.
    """

    def __init__(self, budget_s: float) -> None:
        self._budget = budget_s
        self._began = time.monotonic()
        self._step = "starting"
        self._standing: Standing | None = None

    def step(self, text: str) -> None:
        """What is done now."""
        self._step = human.printable(text)

    def stands(self, standing: "Standing") -> None:
        """How the best forms stand."""
        self._standing = standing

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        over = time.monotonic() - self._began
        bar = "#" * round(min(1.0, over / self._budget) * _WIDTH)
        tried = human.count(self._standing.tried if self._standing else 0, "form")
        head = f"[{bar:<{_WIDTH}}] {over:.0f} of {self._budget:.0f} s, {tried} tried"
        lines = (Text(head), Text(self._step, no_wrap=True, overflow="ellipsis"))
        return Group(*lines, self._front())

    def _front(self) -> "RenderableType":
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        front = self._standing.front if self._standing else ()
        if not front:
            return Text("the form that was imported is the best so far")
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        table.add_column("best so far", overflow="fold")
        for rows in front[0].times:
            table.add_column(f"x at {rows}", justify="right")
        table.add_column("x smaller", justify="right")
        for one in front:
            cells = [f"{ratio:.2f}" for ratio in (*one.times.values(), one.size)]
            table.add_row(Text(human.printable(one.title)), *cells)
        return table


class Lines:
    """The same where there is no terminal: a line a step, and one whenever the front is another.

    Args:
        note: prints a line.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._front: tuple[str, ...] = ()

    def step(self, text: str) -> None:
        """What is done now."""
        self._note(f"... {text}")

    def stands(self, standing: "Standing") -> None:
        """How the best forms stand."""
        titles = tuple(one.title for one in standing.front)
        if titles != self._front:
            self._front = titles
            self._note(f"... front: {'; '.join(map(_words, standing.front)) or 'none'}")


def _words(one: "Leader") -> str:
    times = ", ".join(f"{ratio:.2f} x at {rows}" for rows, ratio in one.times.items())
    return f"{one.title} {times}"


@contextmanager
def board(out: Output, budget_s: float) -> Iterator[tuple[Callable[[str], None], "Watch"]]:
    """What a search tells its steps and its front: drawn on a terminal, lines elsewhere.

    Args:
        out: the command's output; with `--json` nothing is shown.
        budget_s: seconds that the search may take.
    """
    if out.as_json:
        yield lambda _step: None, lambda _standing: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        shown = Board(budget_s)
        with Live(shown, console=Console(stderr=True), refresh_per_second=_A_SECOND):
            yield shown.step, shown.stands
    else:
        lines = Lines(out.note)
        yield lines.step, lines.stands
