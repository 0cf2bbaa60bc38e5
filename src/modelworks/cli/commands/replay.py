"""`replay`: recorded traffic runs against a candidate before it sees a user."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.bar import Bar
from modelworks.cli.bench_options import writable, write_text
from modelworks.cli.context import here, json_option, platform, settings
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.cli.windows import moment
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns
from modelworks.core.reference import parse_ref

if TYPE_CHECKING:
    from modelworks.control.replaying.asked import Asked
    from modelworks.control.replaying.report import Report
    from modelworks.control.replaying.service import Ready
    from modelworks.control.service import Factory
    from modelworks.measure.target import Target

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("ref")
@click.option("--since", default="2h", show_default=True, help="Records from then on: 2h, a time.")
@click.option("--until", default="", help="And before (default: now).")
@click.option("--of", "stable", default="", help="Version that answered (default: the champion).")
@click.option("--speed", default="1", show_default=True, help="Times the recorded pace, or max.")
@click.option("--limit", default=10_000, show_default=True, help="Requests at most, drawn evenly.")
@click.option("--in-flight", default=32, show_default=True, help="Requests under way at most.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for an answer.")
@click.option("--slice", "slices", multiple=True, metavar="FIELD=VALUE", help="Judged apart too.")
@click.option("--allow", default="", help="Answers that may differ: 1%. Exit 9 unless proved.")
@click.option("--url", default="", help="Ask this server (default: one of its own, for the time).")
@click.option("--html", type=_FILE, help="Write a page.")
@json_option
def replay(  # noqa: PLR0913, PLR0917 - click's parameters
    ref: str,
    since: str,
    until: str,
    stable: str,
    speed: str,
    limit: int,
    in_flight: int,
    timeout: float,
    slices: tuple[str, ...],
    allow: str,
    url: str,
    html: Path | None,
    as_json: bool,
) -> Exit | None:
    """Play recorded requests to a candidate, and hold its answers against the recorded ones.

    \b
    modelworks replay fraud:2.0.0 --since 2h --speed 10
    modelworks replay fraud:2.0.0 --since 7d --speed max --allow 1% --slice country=de
    modelworks replay fraud:2.0.0 --url http://127.0.0.1:8001 --html replay.html
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    writable(html, "html")
    with here("records and versions are read where they lie") as factory:
        with platform("a replay"):
            from modelworks.control.replaying.asked import Asked

        now = now_ns()
        name, version = _named(factory, ref)
        asked = Asked(
            *(name, version, stable, moment(since, now, "--since")),
            moment(until, now, "--until") if until else now,
            speed=_speed(speed),
            limit=limit,
            in_flight=in_flight,
            timeout_s=timeout,
            slices=slices,
            allow=_share(allow) if allow else None,
        )
        with out.progress() as say:
            say("reading the records")
            ready = factory.replays.ready(asked)
        report = _played(out, factory, ready, url)
        if not url and not report.interrupted:
            factory.note_evidence(ready.asked.ref, report.evidence())
    return _told(out, report, html)


def _named(factory: "Factory", ref: str) -> tuple[str, str]:
    """Model and version; a bare name would be the one that answers already, so it is refused."""
    found = parse_ref(ref)
    if found.version is None and found.alias is None:
        raise InvalidError(f"'{ref}': name the version: {ref}:2.0.0", field="ref")
    return found.name, str(factory.show(ref).version)


def _speed(text: str) -> float:
    """Of the recorded pace; 0 = as fast as it goes."""
    if text == "max":
        return 0.0
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 1e6:
        raise InvalidError(f"--speed '{text}': 1, 10, max", field="--speed")
    return found


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InvalidError(f"--allow '{text}': 1%, 0.5%, 0.01", field="--allow") from None


@contextmanager
def _target(factory: "Factory", asked: "Asked", url: str) -> Iterator["Target"]:
    from modelworks.apps.replaying import served
    from modelworks.control.replaying.service import path_of
    from modelworks.measure.target import parse_target

    if not url:
        with served(factory, asked) as target:
            yield target
        return
    known = settings()
    given = parse_target(url if "://" in url else f"http://{url}")
    ours = "/v2/models/" not in given.path  # an address of somebody else's gets no key
    yield replace(
        given.at(path_of(asked, given.path)),
        key=known.key if ours else "",
        cafile=known.tls.ca,
        certfile=known.tls.certificate,
        keyfile=known.tls.key,
    )


def _played(out: Output, factory: "Factory", ready: "Ready", url: str) -> "Report":
    asked, count = ready.asked, len(ready.traffic.requests)
    pace = f"about {ready.seconds:.0f} s" if asked.speed else "as fast as it goes"
    out.note(f"{count:,} requests that {asked.model}:{asked.stable} answered: {pace}")
    with _target(factory, asked, url) as target, Bar(out, 1) as bar:
        bar.begin(asked.ref, ready.seconds)
        return factory.replays.play(ready, target, bar.show)


def _told(out: Output, report: "Report", html: Path | None) -> Exit | None:
    from modelworks.cli import replay_text
    from modelworks.cli.explaining import finite
    from modelworks.core.rollouts import Outcome

    if html is not None:
        write_text(html, replay_text.html(report), "html")
    if out.as_json:
        out.document(finite(report.document()))
    else:
        for line in (report.sentence, *replay_text.facts(report)):
            out.line(line)
        for head, rows in replay_text.tables(report):
            out.line()
            out.table(head, rows, "nothing")
        for line in replay_text.remarks(report):
            out.note(line)
    if report.interrupted:
        return Exit.INTERRUPTED
    gated = report.asked.allow is not None and report.verdict is not Outcome.PROMOTE
    return Exit.GATE if gated or report.verdict is Outcome.ROLL_BACK else None
