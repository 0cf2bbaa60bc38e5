"""From a `Rollout` document to the plan that is carried out, every problem with its path."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from modelworks.core.rollouts import Direction, Metric, Plan, Step
from modelworks.core.rollouts import Kind as MetricKind
from modelworks.core.rollouts_check import problems as problems_of
from modelworks.protocol.manifest.load import Kinds, Manifest, load
from modelworks.protocol.manifest.problems import ManifestError, Path, Problem, spelt
from modelworks.protocol.manifest.rollout import Rollout, RolloutMetric, RolloutSpec

KINDS: Final[Kinds] = {"Rollout": Rollout}
"""What a file of roll-outs may hold beside overlays."""

_RATE, _GIVEN, _MEAN = MetricKind.RATE, MetricKind.GIVEN, MetricKind.MEAN
_LOWER, _HIGHER = Direction.LOWER, Direction.HIGHER
_KNOWN: Final = {
    "error_rate": Metric("error_rate", _RATE, _LOWER),
    "timeout_rate": Metric("timeout_rate", _RATE, _LOWER),
    "wrong_rate": Metric("wrong_rate", _RATE, _LOWER, labelled=True),
    "accuracy": Metric("accuracy", _RATE, _HIGHER, labelled=True),
    "disagreement": Metric("disagreement", _RATE, _LOWER, absolute=True),
    "cost": Metric("cost", _MEAN, _LOWER),
    "revenue": Metric("revenue", _MEAN, _HIGHER),
    "mae": Metric("mae", _MEAN, _LOWER, labelled=True),
    "mse": Metric("mse", _MEAN, _LOWER, labelled=True),
    "quality": Metric("quality", _GIVEN, _HIGHER, labelled=True),
    "drift": Metric("drift", _GIVEN, _LOWER, absolute=True),
}
_LATENCY: Final = re.compile(r"latency_p(\d{1,2}(?:_\d+)?)_ms")
_NAMES: Final = {
    "bake_s": "bake",
    "most_s": "max_duration",
    "sample": "minimum_sample",
    "false_rollback": "risk.false_rollback",
    "false_promotion": "risk.false_promotion",
}
"""How fields of a plan are called in a manifest, where it calls them otherwise."""
_PLACE: Final = re.compile(r"([a-z_]+)|\[(\d+)\]")


Further = Callable[[Plan], Iterable[tuple[str, str]]]
"""Of a plan the fields that are wrong, and what is wrong there."""


class Planned(NamedTuple):
    """A plan, or why there is none.

    Attributes:
        plan: None where something is wrong.
        problems: path within the document, and what is wrong there.
    """

    plan: Plan | None
    problems: tuple[tuple[Path, str], ...]


def load_rollouts(
    files: Sequence[tuple[str, bytes]], environment: str = "", further: Further = lambda _: ()
) -> Manifest:
    """Read and check, the plans too.

    Args:
        files: name and content of each.
        environment: whose overlays are put on.
        further: what else is wrong with a plan, by whoever will carry it out.

    Raises:
        ManifestError: all that is wrong.
    """
    manifest = load(files, environment, KINDS)
    problems = [
        Problem(loaded.source.mark(path), spelt(path), words)
        for loaded in manifest.documents
        for path, words in _wrong(loaded.document, further)
    ]
    if problems:
        raise ManifestError(problems)
    return manifest


def _wrong(document: Rollout, further: Further) -> Iterator[tuple[Path, str]]:
    found = planned(document)
    yield from found.problems
    for field, words in further(found.plan) if found.plan is not None else ():
        yield _path(document.spec, field), words


def planned(document: Rollout) -> Planned:
    """What a document asks for."""
    spec = document.spec
    found: list[tuple[Path, str]] = []
    primary = _metric(spec, spec.primary, ("spec", "primary"), found)
    guardrails = [
        _metric(spec, metric, ("spec", "guardrails", place), found)
        for place, metric in enumerate(spec.guardrails)
    ]
    found += _unused(spec)
    plan = Plan(
        document.metadata.name,
        spec.route,
        spec.stable,
        tuple(spec.candidates or [spec.candidate or ""]),
        spec.strategy,
        tuple(Step(step.share, float(step.bake), step.sample) for step in spec.steps),
        primary,
        spec.superiority,
        tuple(guardrails),
        tuple(spec.slices),
        spec.risk.false_rollback,
        spec.risk.false_promotion,
        spec.minimum_sample,
        spec.on_inconclusive,
        float(spec.max_duration),
        spec.replay / 3600,
        spec.labels,
    )
    known = {path for path, _ in found}
    for field, words in problems_of(plan):
        path = _path(spec, field)
        if not any(path[: len(other)] == other for other in known):
            found.append((path, words))
    return Planned(None if found else plan, tuple(found))


def _metric(
    spec: RolloutSpec, said: RolloutMetric, path: Path, found: list[tuple[Path, str]]
) -> Metric:
    known = _known(said.metric)
    kind = said.kind or (known.kind if known else None)
    direction = said.direction or (known.direction if known else None)
    words = f"is missing: {said.metric} is no metric that is known by its name"
    found += [((*path, "kind"), words)] if kind is None else []
    found += [((*path, "direction"), words)] if direction is None else []
    metric = Metric(said.metric, kind or _RATE, direction or _LOWER)
    if known is not None and known.kind is kind:
        metric = replace(known, direction=metric.direction)
    if said.absolute is not None:
        metric = replace(metric, absolute=said.absolute)
    if said.labelled is not None:
        metric = replace(metric, labelled=said.labelled)
    metric = _measured(said, metric, path, found)
    return _allowed(spec, said, metric, path, found)


def _measured(
    said: RolloutMetric, metric: Metric, path: Path, found: list[tuple[Path, str]]
) -> Metric:
    if said.quantile is not None:
        if metric.kind is not MetricKind.QUANTILE:
            found.append(((*path, "quantile"), f"a {metric.kind} has none"))
        metric = replace(metric, quantile=said.quantile)
    low, high = said.bounds or (0.0, 0.0)
    if said.bounds is not None and metric.kind is not _MEAN:
        found.append(((*path, "bounds"), f"a {metric.kind} has none: they are of a mean"))
    return replace(metric, low=low, high=high) if metric.kind is _MEAN else metric


def _allowed(
    spec: RolloutSpec,
    said: RolloutMetric,
    metric: Metric,
    path: Path,
    found: list[tuple[Path, str]],
) -> Metric:
    text, where = said.margin, (*path, "margin")
    if text is None and metric.kind is _RATE:
        text, where = spec.risk.harm, ("spec", "risk", "harm")
    if text is None:
        return metric  # 0, which the check of the plan refuses where it means nothing
    if text.endswith("pp"):
        if metric.kind not in {_RATE, _GIVEN}:
            found.append((where, f"{text}: points are of rates; a {metric.kind} has a unit or a %"))
        return replace(metric, margin=float(text.removesuffix("pp")) / 100)
    if text.endswith("%"):
        return replace(metric, margin=float(text.removesuffix("%")) / 100, relative=True)
    return replace(metric, margin=float(text))


def _known(name: str) -> Metric | None:
    latency = _LATENCY.fullmatch(name)
    if latency is not None:
        share = float(latency[1].replace("_", ".")) / 100
        return Metric(name, MetricKind.QUANTILE, _LOWER, quantile=share)
    return _KNOWN.get(name)


def _unused(spec: RolloutSpec) -> Iterator[tuple[Path, str]]:
    """What was written and would say nothing."""
    if "harm" not in spec.risk.model_fields_set:
        return
    metrics = (spec.primary, *spec.guardrails)
    known = [(one, _known(one.metric)) for one in metrics if one.margin is None]
    if not any((one.kind or (of.kind if of else None)) is _RATE for one, of in known):
        yield ("spec", "risk", "harm"), "every rate here has a margin of its own"


def _path(spec: RolloutSpec, field: str) -> Path:
    parts: list[str | int] = []
    for name, place in _PLACE.findall(field):
        if place:
            parts.append(int(place))
        elif name == "sample" and parts:
            parts.append(name)
        else:
            parts += _NAMES.get(name, name).split(".")
    if parts == ["candidates"] and spec.candidates is None:
        parts = ["candidate"]
    return ("spec", *parts)
