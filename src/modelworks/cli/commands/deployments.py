"""`status`, `rollback`, `revisions`, `targets`, `audit`: what runs, where, and who changed it."""

from typing import TYPE_CHECKING

import click

from modelworks.cli import human
from modelworks.cli.context import deploying, json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.desired import State
from modelworks.core.ids import iso, now_ns
from modelworks.core.plans import Status

if TYPE_CHECKING:
    from modelworks.control.deploying.service import TargetLine


@click.command()
@click.argument("name", required=False)
@json_option
def status(name: str | None, as_json: bool) -> int:
    """Show deployments as they were asked for beside what runs; NAME shows all of one.

    Ends with exit code 6 where one is not ready.

    Examples: modelworks status; modelworks status fraud
    """
    out = Output(as_json=as_json)
    with deploying() as verbs:
        found = [verbs.one(name)] if name else verbs.all()
        routes = [] if name else verbs.routes()
    well = all(one.state is State.READY and not one.unseen for one in found)
    well &= all(one.state is State.READY for one in routes)
    if as_json:
        out.document(found[0] if name else {"deployments": found, "routes": routes})
    elif name:
        _whole(out, found[0])
    else:
        rows = [_row(one) for one in found]
        empty = "no deployments yet; write a modelworks.yaml, then: modelworks apply"
        out.table(["name", "target", "state", "model", "revision", "ready", "url"], rows, empty)
        for route in routes:
            message = f": {route.message}" if route.message else ""
            backends = ", ".join(route.deployments)
            out.line(f"route {route.name} to {backends}: {route.state}{message}")
    return Exit.OK if well else Exit.UNAVAILABLE


@click.command()
@click.argument("name")
@click.option("--to", "number", type=click.IntRange(min=1), help="Revision (the one before).")
@json_option
def rollback(name: str, number: int | None, as_json: bool) -> int:
    """Go back to an earlier revision of deployment NAME, ready before the present one goes.

    How many replicas run stays as it is. The manifest is not changed: change it too, or the next
    `apply` goes forward again.

    Examples: modelworks rollback fraud; modelworks rollback fraud --to 3
    """
    out = Output(as_json=as_json)
    with deploying() as verbs, out.progress() as say:
        done = verbs.roll_back(name, number or 0, say)
    if as_json:
        out.document(done)
    else:
        message = f": {done.message}" if done.message else ""
        out.line(f"{name}: {done.state}, revision {done.serving or done.revision}{message}")
    return Exit.OK if done.state is State.READY else Exit.UNAVAILABLE


@click.command()
@click.argument("name")
@json_option
def revisions(name: str, as_json: bool) -> None:
    """List the revisions of deployment NAME that can be gone back to, newest first.

    Example: modelworks revisions fraud
    """
    out = Output(as_json=as_json)
    with deploying() as verbs:
        found, now = verbs.revisions(name), verbs.one(name)
    if as_json:
        return out.document([{"digest": one.revision.digest, **codec.encode(one)} for one in found])
    rows = [
        [
            str(one.revision.number),
            _mark(one.revision.number, now),
            one.revision.model.ref,
            one.revision.digest,
            human.when(one.created_ns, now_ns()),
            one.actor or "-",
        ]
        for one in found
    ]
    return out.table(["revision", "", "model", "digest", "made", "by"], rows, "none")


@click.command()
@click.argument("name", required=False)
@json_option
def targets(name: str | None, as_json: bool) -> None:
    """List the targets that deployments can run on; NAME shows what it does with every field.

    Examples: modelworks targets; modelworks targets docker
    """
    out = Output(as_json=as_json)
    with platform("a target"):
        from modelworks.control.deploying.service import capabilities
        from modelworks.control.deploying.service import targets as installed
    if name:
        table = capabilities(name)
        if as_json:
            said = {f: {"support": c.support.value, "how": c.how} for f, c in table.items()}
            return out.document(said)
        rows = [[field, one.support.value, one.how] for field, one in table.items()]
        return out.table(["field", "", "how"], rows, "none")
    found = installed()
    if as_json:
        return out.document(found)
    return out.table(["target", "", "settings"], [_target(one) for one in found], "none")


@click.command()
@click.argument("subject", required=False, default="")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, help="Lines (100).")
@json_option
def audit(subject: str, limit: int, as_json: bool) -> None:
    """Show who did what, newest first; SUBJECT is `deployment/NAME`.

    Examples: modelworks audit; modelworks audit deployment/fraud --json
    """
    out = Output(as_json=as_json)
    with deploying() as verbs:
        found = verbs.audited(subject, limit)
    if as_json:
        return out.document(found)
    rows = [
        [
            iso(one.at_ns),
            one.actor or "-",
            one.act,
            one.subject,
            ", ".join(f"{key} {value}" for key, value in one.detail.items()),
        ]
        for one in found
    ]
    return out.table(["time", "who", "act", "subject", "detail"], rows, "nothing was done yet")


def _row(one: Status) -> list[str]:
    ready = "?" if one.unseen else str(sum(r.phase == "ready" for r in one.seen))
    revision = str(one.serving) if one.serving == one.wanted else f"{one.serving} -> {one.wanted}"
    state = f"{one.state}: {one.unseen or one.message}".rstrip(": ")
    model = f"{one.model} ({one.moved} by now)" if one.moved else one.model
    return [one.name, one.target, state, model, revision, f"{ready}/{one.replicas}", one.url or "-"]


def _whole(out: Output, one: Status) -> None:
    out.line(f"{one.name} on {one.target}: {one.state}")
    promised = ", ".join(f"{key} {value}" for key, value in one.slo.items())
    facts = (
        ("message", one.message),
        ("about", one.description),
        ("model", one.model),
        ("moved to", one.moved),
        ("revision", f"{one.wanted}, serving {one.serving or 'none'}"),
        ("url", one.url),
        ("promised", promised),
        ("unseen", one.unseen),
    )
    for key, value in facts:
        if value:
            out.line(f"  {key:<10}{value}")
    for line in one.changed:
        out.line(f"  changed from outside: {line}")
    out.line(f"replicas ({one.replicas} asked for)")
    for replica in one.seen:
        more = f", {replica.restarts} restarts" if replica.restarts else ""
        why = f": {replica.reason}" if replica.reason else ""
        out.line(f"  {replica.name}  revision {replica.revision}  {replica.phase}{more}{why}")
    out.line("events")
    for event in one.events:
        out.line(f"  {human.when(event.at_ns, now_ns())}  {event.message}")


def _mark(number: int, now: Status) -> str:
    words = []
    if number == now.serving:
        words.append("serving")
    if number == now.wanted:
        words.append("asked for")
    return ", ".join(words)


def _target(one: "TargetLine") -> list[str]:
    state = one.reason or ("experimental" if one.experimental else "")
    return [one.name, state, ", ".join(sorted(one.settings or {})) or "-"]
