"""Where a command says what it found: one JSON document, or text for people; progress aside."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from modelworks.cli import human
from modelworks.core import codec


class Output:
    """stdout carries the result and nothing else; progress and findings go to stderr.

    Args:
        as_json: print exactly one JSON document; progress and findings are left out.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, data: Any) -> None:
        """The command's result as JSON; a value of `core` is encoded."""
        print(json.dumps(codec.encode(data), ensure_ascii=False), flush=True)  # noqa: T201 - stdout is the product

    def line(self, text: str = "") -> None:
        """One line of the result for people."""
        print(human.printable(text), flush=True)  # noqa: T201 - stdout is the product

    def note(self, text: str) -> None:
        """A finding or a hint, on stderr; quiet with `--json`."""
        if not self.as_json:
            print(human.printable(text), file=sys.stderr, flush=True)  # noqa: T201 - the terminal

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        """A table: ruled on a terminal, aligned text in a pipe; `empty` where there are no rows."""
        clean = [[human.printable(cell) for cell in row] for row in rows]
        if not clean:
            self.note(empty)
        elif sys.stdout.isatty():
            _ruled(columns, clean)
        else:
            for text in human.aligned(columns, clean):
                self.line(text)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A callable that shows the step under way: a spinner on a terminal, lines elsewhere."""
        if self.as_json:
            yield lambda _step: None
        elif sys.stderr.isatty():
            from rich.console import Console

            with Console(stderr=True).status("starting", spinner="dots") as status:
                yield lambda step: status.update(human.printable(step).replace("[", "\\["))
        else:
            yield lambda step: self.note(f"... {step}")


def _ruled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    Console().print(table)
