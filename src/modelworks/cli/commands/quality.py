"""`quality`: how a model's answers are judged in use, where its signature does not say enough."""

from typing import TYPE_CHECKING, Any

import click

from modelworks.cli import human
from modelworks.cli.context import json_option, platform, watching
from modelworks.cli.output import Output
from modelworks.core.ids import now_ns

if TYPE_CHECKING:
    from modelworks.control.watching.qualities import Watched

_TASKS = ("binary", "multiclass", "multilabel", "regression", "ranking")


@click.group()
def quality() -> None:
    """Say how a model's quality is watched: its task, slices, metrics.

    \b
    modelworks quality set fraud --slice country --slice age_band*country
    modelworks quality set search --task ranking --metric ndcg
    modelworks quality show fraud
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@quality.command("set")
@click.argument("model")
@click.option("--task", type=click.Choice(_TASKS), help="Default: as the outputs tell.")
@click.option("--label", default="", metavar="OUTPUT", help="With what the model said.")
@click.option("--score", default="", metavar="OUTPUT", help="With probabilities, or what sorts.")
@click.option("--query", default="", metavar="COL", help="Of a ranking (default: each request).")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="In the scores' order.")
@click.option("--slice", "slices", multiple=True, metavar="COL", help="Or COL*COL; repeatable.")
@click.option("--metric", "metrics", multiple=True, help="Kept as a series; repeatable.")
@click.option("--fewest", default=30, show_default=True, help="Rows that are measured.")
@json_option
def set_(model: str, as_json: bool, **given: Any) -> None:
    """Set how MODEL is watched, in place of what was set before; it is audited.

    It holds for every version of the model, from the next hour on. Columns: inputs by their name,
    out.NAME, header.NAME, caller, version, key, id.

    \b
    modelworks quality set fraud --slice country --metric recall --metric precision
    modelworks quality set tags --task multilabel --label tags --class urgent --class billing
    modelworks quality set search --task ranking --score relevance --query in.query_id
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    with watching() as verbs:
        with platform("quality"):
            from modelworks.evaluation.predictions import Task
            from modelworks.monitor.quality.asked import Asked
        asked = Asked(**{**given, "task": Task(given["task"]) if given["task"] else None})
        found = verbs.qualities.put(model, asked)
    if as_json:
        return out.document(found)
    return _show(out, found)


@quality.command()
@click.argument("ref")
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show how a version is watched: what was set, and what follows from its signature.

    Example: modelworks quality show fraud@champion
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        found = verbs.qualities.show(ref)
    if as_json:
        return out.document(found)
    return _show(out, found)


@quality.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models for which something was set.

    Example: modelworks quality list --json
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        found = verbs.qualities.every()
    if as_json:
        return out.document(found)
    rows = [
        [
            one.model,
            str(one.document.get("task") or "as its outputs tell"),
            ", ".join(one.document.get("slices", ())) or "-",
            ", ".join(one.document.get("metrics", ())) or "the usual ones",
            f"{human.when(one.updated_ns, now_ns())} by {one.actor}",
        ]
        for one in found
    ]
    empty = "nothing was set: every model is watched as its signature says"
    return out.table(["model", "task", "slices", "metrics", "set"], rows, empty)


@quality.command()
@click.argument("model")
@json_option
def remove(model: str, as_json: bool) -> None:
    """Watch MODEL as its signature says again.

    Example: modelworks quality remove fraud
    """
    out = Output(as_json=as_json)
    with watching() as verbs:
        verbs.qualities.remove(model)
    if as_json:
        return out.document({"removed": model})
    return out.line(f"{model} is watched as its signature says")


def _show(out: Output, found: "Watched") -> None:
    name, plan = f"{found.model}:{found.version}", found.plan
    if plan is None:
        return out.line(f"{name}: only outcomes are watched: its outputs are none that truth fits")
    columns = [f"{what} {value}" for what, value in _columns(plan) if value]
    out.line(f"{name}: {plan.task}, {', '.join(columns)}")
    out.line(f"slices: {', '.join(plan.slices) or 'none'}")
    out.line(f"metrics: {', '.join(plan.wanted)}, from {plan.fewest} rows on")
    if found.asked is None:
        return out.note("as its signature says; change it with: modelworks quality set")
    return None


def _columns(plan: Any) -> list[tuple[str, str]]:
    return [("label", plan.label), ("score", plan.score), ("query", plan.query)]
