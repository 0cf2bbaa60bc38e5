"""`rollout`: traffic moves to another version, and only on evidence."""

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from modelworks.cli.commands.rollout_report import report
from modelworks.cli.context import json_option, platform, rollouts
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import contents, file_options, refused
from modelworks.cli.output import Output
from modelworks.cli.rollout_text import findings, show, steps
from modelworks.core.errors import InvalidError
from modelworks.core.ids import iso, now_ns
from modelworks.core.rollouts import Phase

if TYPE_CHECKING:
    from modelworks.cli.rollouts_elsewhere import Verbs
    from modelworks.control.rollouts.kept import Asked, Event, Kept
    from modelworks.core.rollouts import Plan

_EVERY_S = 1.0
_EVENTS = 5
_REASON = click.option("--reason", default="", help="Why; it is kept.")


@click.group()
def rollout() -> None:
    """Move traffic to another version on evidence: plan, start, watch, promote, abort.

    Example: modelworks rollout start -f rollout.yaml
    """


@rollout.command()
@file_options
@json_option
def plan(files: tuple[str, ...], environment: str, as_json: bool) -> Exit | None:
    """Check a manifest of roll-outs, and say what each would do.

    Example: modelworks rollout plan -f rollout.yaml
    """
    out = Output(as_json=as_json)
    given = contents(files)
    found, refusal = _plans(out, given, environment)
    if refusal is not None:
        return refusal
    if as_json:
        out.document(found)
        return None
    from modelworks.control.rollouts.report.words import said

    for one in found:
        out.line(f"{one.name}:")
        for line in said(one):
            out.line(f"- {line}")
    return None


@rollout.command()
@file_options
@click.option(
    "--sticky",
    default="",
    metavar="WHERE:NAME",
    help="Keep a caller with one version: header:X-User, cookie:user or field:user.",
)
@json_option
def start(files: tuple[str, ...], environment: str, sticky: str, as_json: bool) -> Exit | None:
    """Start the roll-outs of a manifest; `modelworks up` carries them out.

    The candidate gets no request before it is loaded and warm.

    Example: modelworks rollout start -f rollout.yaml --sticky header:X-User
    """
    out = Output(as_json=as_json)
    given = contents(files)
    found, refusal = _plans(out, given, environment)
    if refusal is not None:
        return refusal
    asked = _asked(sticky)
    with rollouts() as verbs:
        _sent(verbs, given, environment)
        started = [verbs.start(one, asked) for one in found]
    if as_json:
        out.document(started)
        return None
    show(out, started, now_ns())
    return None


@rollout.command()
@click.argument("name", required=False, default="")
@json_option
def status(name: str, as_json: bool) -> None:
    """Show roll-outs, or one with its findings.

    Example: modelworks rollout status fraud-2
    """
    out = Output(as_json=as_json)
    with rollouts() as verbs:
        found = [verbs.get(name)] if name else verbs.every()
    if as_json:
        return out.document(found[0] if name else found)
    show(out, found, now_ns())
    if name:
        out.line(steps(found[0], now_ns()))
        findings(out, found[0])
    return None


@rollout.command()
@click.argument("name")
@click.option("--once", is_flag=True, help="Show how it stands, and end (with --json: always).")
@json_option
def watch(name: str, once: bool, as_json: bool) -> Exit | None:
    """Show a roll-out as it goes on, until it ends or Ctrl-C.

    In a pipe each thing that happens is a line, and the exit code is 9 unless the new version was
    promoted: a pipeline that waits for a roll-out goes by it.

    Example: modelworks rollout watch fraud-2
    """
    out = Output(as_json=as_json)
    with rollouts() as verbs, suppress(KeyboardInterrupt):
        if as_json:
            out.document(verbs.get(name))
        elif once:
            _picture(out, verbs, verbs.get(name))
        else:
            return _followed(out, verbs, name, live=sys.stdout.isatty())
    return None


@rollout.command()
@click.argument("name")
@_REASON
@json_option
def pause(name: str, reason: str, as_json: bool) -> None:
    """Let everything stand as it is; nothing is judged until `resume`, not even harm.

    Example: modelworks rollout pause fraud-2 --reason "a holiday"
    """
    with rollouts() as verbs:
        _told(Output(as_json=as_json), verbs.pause(name, reason))


@rollout.command()
@click.argument("name")
@json_option
def resume(name: str, as_json: bool) -> None:
    """Go on after a pause; what was earned before and meanwhile counts.

    Example: modelworks rollout resume fraud-2
    """
    with rollouts() as verbs:
        _told(Output(as_json=as_json), verbs.resume(name))


@rollout.command()
@click.argument("name")
@click.option("--arm", default="", help="Of several candidates the one that gets all.")
@_REASON
@json_option
def promote(name: str, arm: str, reason: str, as_json: bool) -> None:
    """Give all traffic to the candidate, whatever is proved; who did it is kept.

    Example: modelworks rollout promote fraud-2 --reason "the old one is wrong since today"
    """
    with rollouts() as verbs:
        _told(Output(as_json=as_json), verbs.promote(name, reason, arm))


@rollout.command()
@click.argument("name")
@_REASON
@json_option
def abort(name: str, reason: str, as_json: bool) -> None:
    """Give all traffic back to the stable version, in one change.

    Example: modelworks rollout abort fraud-2 --reason "wrong model file"
    """
    with rollouts() as verbs:
        _told(Output(as_json=as_json), verbs.abort(name, reason))


@rollout.command()
@click.argument("name")
@json_option
def history(name: str, as_json: bool) -> None:
    """Show what happened to a roll-out, who did it and why.

    Example: modelworks rollout history fraud-2
    """
    out = Output(as_json=as_json)
    with rollouts() as verbs:
        found = verbs.history(name)
    if as_json:
        return out.document(found)
    rows = [(iso(one.at_ns), one.phase.value, one.actor, one.sentence) for one in found]
    out.table(("at", "phase", "who", "what"), rows, "nothing happened")
    return None


def _sent(verbs: "Verbs", given: list[tuple[str, bytes]], environment: str) -> None:
    """What is started elsewhere is checked there too: the manifest goes there as it is."""
    from modelworks.cli.rollouts_elsewhere import Elsewhere

    if isinstance(verbs, Elsewhere):
        texts = [content.decode() for _, content in given]
        verbs.from_manifest("\n---\n".join(texts), environment)


def _followed(out: Output, verbs: "Verbs", name: str, *, live: bool) -> Exit | None:
    """Until it ends: a picture that is drawn again, or a line for each thing that happens."""
    from modelworks.control.rollouts.kept import DONE

    told = 0
    while True:
        found = verbs.get(name)
        if live:
            click.clear()
            _picture(out, verbs, found)
        else:
            events = [one for one in verbs.history(name) if one.number > told]
            told = max((one.number for one in events), default=told)
            for one in events:
                out.line(_line(one))
        if found.settled or (found.ended_ns and found.rollout.phase not in DONE):
            return None if found.rollout.phase is Phase.PROMOTED else Exit.GATE
        time.sleep(_EVERY_S)


def _picture(out: Output, verbs: "Verbs", found: "Kept") -> None:
    now = now_ns()
    show(out, [found], now)
    out.line(steps(found, now))
    findings(out, found)
    for one in verbs.history(found.rollout.plan.name)[-_EVENTS:]:
        out.line(_line(one))


def _line(event: "Event") -> str:
    return f"{iso(event.at_ns)[11:19]} {event.actor}: {event.sentence}"


def _plans(
    out: Output, given: list[tuple[str, bytes]], environment: str
) -> "tuple[list[Plan], Exit | None]":
    """The plans of a manifest; or what a refusal exits with, told."""
    with platform("a manifest"):
        from modelworks.control.rollouts.gathering.named import problems
        from modelworks.protocol.manifest.problems import ManifestError
        from modelworks.protocol.manifest.rollout import Rollout
        from modelworks.protocol.manifest.rollout_plan import load_rollouts, planned

    try:
        manifest = load_rollouts(given, environment, problems)
    except ManifestError as error:
        return [], refused(out, error)
    found = [planned(one).plan for one in manifest.of(Rollout)]
    return [one for one in found if one is not None], None


def _asked(sticky: str) -> "Asked":
    from modelworks.control.rollouts.kept import Asked
    from modelworks.core.routes import Source

    if not sticky:
        return Asked()
    source, _, name = sticky.partition(":")
    if source not in [one.value for one in Source] or not name:
        words = f"--sticky '{sticky}': header:NAME, cookie:NAME or field:NAME is wanted"
        raise InvalidError(words, field="--sticky")
    return Asked(Source(source), name.lower() if source == "header" else name)


def _told(out: Output, kept: "Kept") -> None:
    if out.as_json:
        out.document(kept)
        return
    show(out, [kept], now_ns())


rollout.add_command(report)
