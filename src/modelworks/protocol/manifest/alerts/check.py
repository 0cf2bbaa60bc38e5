"""Files of alerts as checked documents: what one says of another is there, and in no circle."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from modelworks.protocol.manifest.alerts.conditions import Term
from modelworks.protocol.manifest.alerts.routing import AlertRouting, RouteOfAlerts
from modelworks.protocol.manifest.alerts.rules import AlertRules, Rule
from modelworks.protocol.manifest.alerts.tests import AlertTests
from modelworks.protocol.manifest.load import Kinds, Loaded, Manifest, load, nearest
from modelworks.protocol.manifest.problems import ManifestError, Path, Problem, spelt

KINDS: Final[Kinds] = {
    "AlertRules": AlertRules,
    "AlertRouting": AlertRouting,
    "AlertTests": AlertTests,
}
"""What a file of alerts may hold."""


def load_alerts(files: Sequence[tuple[str, bytes]], environment: str = "") -> Manifest:
    """Read and check, across documents too.

    Args:
        files: name and content of each.
        environment: whose overlays are put on.

    Raises:
        ManifestError: all that is wrong.
    """
    manifest = load(files, environment, KINDS)
    problems = [*_rules(manifest), *_routing(manifest)]
    if problems:
        raise ManifestError(problems)
    return manifest


def terms(term: Term, path: Path = ()) -> Iterator[tuple[Term, Path]]:
    """A term and all below it, with where each stands."""
    yield term, path
    for name in ("all", "any", "of"):
        for place, inner in enumerate(getattr(term, name)):
            yield from terms(inner, (*path, name, place))
    if term.not_ is not None:
        yield from terms(term.not_, (*path, "not"))


def ordered(rules: Mapping[str, Rule]) -> list[str]:
    """Names of rules, those that a composite speaks of before it.

    Raises:
        ValueError: some go in a circle; the message names them.
    """
    done: dict[str, None] = {}
    for name in rules:
        _visit(name, rules, done, ())
    return list(done)


def _visit(name: str, rules: Mapping[str, Rule], done: dict[str, None], way: Sequence[str]) -> None:
    if name in done or name not in rules:
        return
    if name in way:
        circle = " -> ".join([*way[way.index(name) :], name])
        raise ValueError(f"composites go in a circle: {circle}")
    composite = rules[name].composite
    if composite is not None:
        for term, _ in terms(composite):
            if term.rule:
                _visit(term.rule, rules, done, (*way, name))
    done[name] = None


def _rules(manifest: Manifest) -> Iterator[Problem]:
    known: dict[str, Rule] = {}
    first: dict[str, str] = {}
    every = [one for one in manifest.documents if isinstance(one.document, AlertRules)]
    for loaded in every:
        for place, rule in enumerate(loaded.document.spec.rules):
            path: Path = ("spec", "rules", place, "name")
            if rule.name in known:
                words = f"there is a rule '{rule.name}' already: {first[rule.name]}"
                yield _problem(loaded, path, words)
            known.setdefault(rule.name, rule)
            first.setdefault(rule.name, str(loaded.source.mark(path)))
    actions = _actions(manifest)
    for loaded in every:
        for place, rule in enumerate(loaded.document.spec.rules):
            yield from _named(loaded, place, rule, known, actions)
    try:
        ordered(known)
    except ValueError as error:
        yield _problem(every[0], ("spec", "rules"), str(error))


def _actions(manifest: Manifest) -> list[str] | None:
    found = manifest.of(AlertRouting)
    return [action.name for one in found for action in one.spec.actions] if found else None


def _named(
    loaded: Loaded,
    place: int,
    rule: Rule,
    known: Mapping[str, Rule],
    actions: Sequence[str] | None,
) -> Iterator[Problem]:
    here: Path = ("spec", "rules", place)
    for term, path in terms(rule.composite) if rule.composite is not None else ():
        if term.rule and term.rule not in known:
            words = f"there is no rule '{term.rule}'{nearest(term.rule, known)}"
            yield _problem(loaded, (*here, "composite", *path, "rule"), words)
    for number, action in enumerate(rule.actions):
        if actions is not None and action not in actions:
            words = f"there is no action '{action}'{nearest(action, actions)}"
            yield _problem(loaded, (*here, "actions", number), words)


def _routing(manifest: Manifest) -> Iterator[Problem]:
    found = [one for one in manifest.documents if isinstance(one.document, AlertRouting)]
    for loaded in found[1:]:
        words = f"there is an AlertRouting already: {found[0].source.start}"
        yield _problem(loaded, ("kind",), words)
    for loaded in found:
        spec = loaded.document.spec
        names = [one.name for one in spec.receivers]
        yield from _twice(loaded, "receivers", names)
        yield from _twice(loaded, "actions", [one.name for one in spec.actions])
        for name, path in _receivers(spec.route, ("spec", "route")):
            if name not in names:
                words = f"there is no receiver '{name}'{nearest(name, names)}"
                yield _problem(loaded, path, words)


def _twice(loaded: Loaded, field: str, names: Sequence[str]) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if name in names[:place]:
            words = f"'{name}' stands here twice"
            yield _problem(loaded, ("spec", field, place, "name"), words)


def _receivers(route: RouteOfAlerts, path: Path) -> Iterator[tuple[str, Path]]:
    if route.receiver:
        yield route.receiver, (*path, "receiver")
    for place, one in enumerate(route.escalate):
        yield one.receiver, (*path, "escalate", place, "receiver")
    for place, inner in enumerate(route.routes):
        yield from _receivers(inner, (*path, "routes", place))


def _problem(loaded: Loaded, path: Path, message: str) -> Problem:
    return Problem(loaded.source.mark(path), spelt(path), message)
