"""All exchanges, and the page that shows them; `python tests/http2_exchanges/table.py`."""

import sys
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from http2_exchanges import fields, frames
from http2_exchanges.kinds import Case, Timed
from http2_exchanges.lawful import good

PAGE = Path(__file__).parents[2] / "docs" / "http2-exchanges.md"
_HEAD = """# HTTP/2 exchanges

{bad} malformed or hostile exchanges, {timed} in which time matters, and {good} uncommon but lawful
ones. Each is sent as bytes over a socket, whole and in pieces, and must end as this page says
(`tests/unit/edge/test_http2_exchanges.py`): behind `GOAWAY` the connection is closed, behind
`RST_STREAM` and behind an answer it goes on. The limits are those of the tests; what a server
grants is in [HTTP/2](http2.md).

This page is written by `python tests/http2_exchanges/table.py`.
"""


def bad() -> tuple[Case, ...]:
    """Every one that must be refused."""
    return (
        *frames.beginnings(), *frames.places(), *frames.streams(), *frames.floods(),
        *fields.blocks(), *fields.requests(), *fields.refused(), *fields.calls(),
    )  # fmt: skip


def timed() -> tuple[Timed, ...]:
    """Those that have a test of their own."""
    rows = {
        "sends the preface and no SETTINGS": ("`GOAWAY SETTINGS_TIMEOUT`", "no_settings"),
        "sends half a frame, and waits": ("`GOAWAY ENHANCE_YOUR_CALM`", "half_a_frame"),
        "sends half a header block, and waits": (
            "`GOAWAY ENHANCE_YOUR_CALM`",
            "half_a_header_block",
        ),
        "sends a body too slowly": ("408, `RST_STREAM NO_ERROR`", "a_slow_body"),
        "sends a message of a call too slowly": (
            "status 4",
            "a_slow_message_and_a_stream_without_one",
        ),
        "lets a call's time pass": ("status 4", "time_of_a_call_passes"),
        "grants no window for an answer": ("`RST_STREAM CANCEL`", "no_window"),
        "grants the window of one stream alone": (
            "that one is answered, the others wait",
            "windows_of_streams",
        ),
        "reads nothing at all": ("cut off", "a_client_that_does_not_read"),
        "sends nothing between requests": ("`GOAWAY NO_ERROR`", "an_idle_connection"),
        "sends more than the window of a call that is held": (
            "`RST_STREAM FLOW_CONTROL_ERROR`",
            "the_window_of_a_held_call",
        ),
        "waits for an answer, and does not answer a ping": ("cut off", "nobody_there"),
        "closes its side of the socket": ("all its calls are over", "a_client_that_closes"),
    }
    return tuple(Timed(title, out, f"test_{test}") for title, (out, test) in rows.items())


def page() -> str:
    """The table as Markdown."""
    refused, lawful, played = bad(), good(), timed()
    parts = [_HEAD.format(bad=len(refused), good=len(lawful), timed=len(played))]
    for group, cases in groupby((*refused, *lawful), key=lambda case: case.group):
        parts.append(f"\n## {group}\n\n| what is sent | what happens |\n|---|---|\n")
        parts += [f"| {case.title} | {_told(case)} |\n" for case in cases]
    parts.append("\n## Time\n\n| what the client does | outcome |\n|---|---|\n")
    parts += [f"| {case.title} | {case.outcome} |\n" for case in played]
    return "".join(parts)


def _told(case: Case) -> str:
    return ", ".join(f"`{event}`" if "_" in event else event for event in case.events)


if __name__ == "__main__":
    PAGE.write_text(page())
