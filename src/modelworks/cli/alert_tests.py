"""Runs tests of alerts from files."""

from dataclasses import dataclass
from pathlib import Path

from modelworks.cli.alerting import read
from modelworks.core.errors import InvalidError
from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.monitor.alerts.trial import Trial
from modelworks.protocol.manifest import Manifest
from modelworks.protocol.manifest.alerts import AlertRouting, AlertRules, AlertTests


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test.

    Attributes:
        document: its document.
        name: of it.
        lines: what is otherwise than expected; empty = nothing.
    """

    document: str
    name: str
    lines: tuple[str, ...]


def run(files: tuple[str, ...], environment: str) -> list[Result]:
    """Every test of some files, on the rules of all of them.

    Raises:
        ModelworksError: a file that cannot be read, or says nothing that can be run.
    """
    found = read(_with_rules(files, environment), environment)
    rules, routing = Ruleset(found.of(AlertRules)), found.of(AlertRouting)
    trial = Trial(rules, routing[0].spec if routing else None)
    results = [
        Result(
            loaded.document.metadata.name,
            one.name,
            tuple(trial.run(one, Path(loaded.source.start.file).parent)),
        )
        for loaded in found.documents
        if isinstance(loaded.document, AlertTests)
        for one in loaded.document.spec.tests
    ]
    if not results:
        raise InvalidError("there are no tests: a document of the kind AlertTests is wanted")
    return results


def _with_rules(files: tuple[str, ...], environment: str) -> tuple[str, ...]:
    """Files that tests name lie beside them."""
    given = {Path(name).resolve() for name in files}
    more: list[str] = []
    for loaded in _quietly(files, environment).documents:
        if isinstance(loaded.document, AlertTests):
            folder = Path(loaded.source.start.file).parent
            for name in loaded.document.spec.rules:
                if (folder / name).resolve() not in given:
                    given.add((folder / name).resolve())
                    more.append(str(folder / name))
    return (*files, *more)


def _quietly(files: tuple[str, ...], environment: str) -> Manifest:
    """The documents, each for itself: what they say of others may be in files still to come."""
    from modelworks.cli.manifests import contents
    from modelworks.protocol.manifest import load
    from modelworks.protocol.manifest.alerts import KINDS

    return load(contents(files), environment, KINDS)
