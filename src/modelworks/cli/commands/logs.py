"""`logs`: what the processes of this installation wrote."""

import re
import time
from datetime import UTC, datetime

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.control.observability.logs import LEVELS, Follower, LogLine, Wanted, search
from modelworks.core.errors import InvalidError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d{1,9})([smhd])")
_LOOK_S = 0.5


@click.command()
@click.option("--model", default="", metavar="NAME", help="Lines about one model.")
@click.option(
    "--level", default="debug", show_default=True, type=click.Choice(LEVELS), help="The least."
)
@click.option("--since", default="", metavar="AGE|TIME", help="30s, 15m, 2h, 7d, or a time.")
@click.option("--grep", "pattern", default="", metavar="REGEX", help="That the message has.")
@click.option("--trace", default="", metavar="ID", help="Of one trace (or its beginning).")
@click.option("-n", "--lines", "most", default=1000, show_default=True, type=click.IntRange(1))
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@json_option
def logs(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    level: str,
    since: str,
    pattern: str,
    trace: str,
    most: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Search the logs of `up`, of servers in the background and of local deployments.

    Lines of text and of JSON are found alike; the newest are shown, the oldest of them first. With
    --follow and --json each line is a document of its own.

    Example: modelworks logs --model fraud --level warning --since 1h
    """
    out = Output(as_json=as_json)
    wanted = Wanted(model, level, _since(since), _pattern(pattern), trace.lower())
    home = settings().home
    follower = Follower(home, wanted) if follow else None
    found = search(home, wanted, most)
    if as_json and follower is None:
        return out.document(found)
    _show(out, found)
    if not found and follower is None:
        out.note(f"no line of the logs in {home.logs} is like that")
    while follower is not None:
        time.sleep(_LOOK_S)
        _show(out, follower.look())
    return None


def _show(out: Output, lines: list[LogLine]) -> None:
    for line in lines:
        if out.as_json:
            out.document(line)
            continue
        when = datetime.fromtimestamp(line.at, UTC).isoformat(" ", "seconds") if line.at else "-"
        for place, text in enumerate(line.message.splitlines() or [""]):
            head = f"{when} {line.level:8} {line.source} " if place == 0 else "    "
            out.line(head + text)


def _since(text: str) -> float:
    """Seconds since 1970; 0 where nothing is asked.

    Raises:
        InvalidError: neither an age nor a time.
    """
    if not text:
        return 0.0
    age = _AGE.fullmatch(text)
    if age is not None:
        return time.time() - int(age[1]) * _UNITS[age[2]]
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError as error:
        raise InvalidError(
            f"--since {text!r}: an age such as 15m, 2h or 7d is wanted, or a time such as "
            "2026-11-22T10:00",
            field="since",
        ) from error


def _pattern(text: str) -> re.Pattern[str] | None:
    """Compiled; None where nothing is asked.

    Raises:
        InvalidError: no regular expression.
    """
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InvalidError(
            f"--grep {text!r} is no regular expression: {error}", field="grep"
        ) from error
