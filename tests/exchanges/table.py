"""All exchanges, and the page that shows them: `python tests/exchanges/table.py` writes it."""

import sys
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from exchanges import bodies, framing, lines
from exchanges.kinds import Bad, Good, Timed
from exchanges.served import good
from exchanges.timed import timed

PAGE = Path(__file__).parents[2] / "docs" / "http-exchanges.md"
_HEAD = """# HTTP exchanges

{bad} malformed or hostile exchanges, {timed} in which time or a second client matters, and {good}
uncommon but lawful ones. Each is sent as bytes over a socket, whole and in pieces, to the edge of
the model server (`tests/unit/edge`) and to a server process over TCP, TLS and a Unix socket
(`tests/real`), and must end as this page says. A refusal is an answer `{{"error": "..."}}` with
`Connection: close`; nothing behind it is read as a request. `200, 400`: the request before it in
the stream is answered, then this one is refused.

This page is written by `python tests/exchanges/table.py`.
"""


def bad() -> tuple[Bad, ...]:
    """Every one that must be refused."""
    return (
        *framing.two_ends(), *framing.odd_lengths(), *framing.disguises(), *framing.chunked(),
        *lines.characters(), *lines.request_lines(), *lines.headers(),
        *bodies.coded(), *bodies.sizes(), *bodies.departures(),
    )  # fmt: skip


def page() -> str:
    """The table as Markdown."""
    refused, lawful, played = bad(), good(), timed()
    parts = [_HEAD.format(bad=len(refused), good=len(lawful), timed=len(played))]
    for group, cases in groupby(refused, key=lambda case: case.group):
        parts.append(f"\n## {group}\n\n| what is sent | answer |\n|---|---|\n")
        parts += [_row(case) for case in cases]
    parts.append("\n## Time, and other clients\n\n| what the client does | outcome |\n|---|---|\n")
    parts += [f"| {case.title} | {case.outcome} |\n" for case in played]
    parts.append("\n## Lawful\n\n| what is sent | answers |\n|---|---|\n")
    parts += [_good_row(case) for case in lawful]
    return "".join(parts)


def _row(case: Bad) -> str:
    return f"| {case.title} | {', '.join(map(str, case.answers))} |\n"


def _good_row(case: Good) -> str:
    first, count = case.statuses[0], len(case.statuses)
    return f"| {case.title} | {first if count == 1 else f'{count} x {first}'} |\n"


__all__ = ["Timed", "bad", "good", "page", "timed"]

if __name__ == "__main__":
    PAGE.write_text(page())
