"""Checks of what is installed: notifiers and their settings, use cases that actions name."""

from collections.abc import Collection, Iterator

from modelworks.core.errors import ModelworksError
from modelworks.plugins.load import available, load
from modelworks.protocol.manifest import Manifest, ManifestError
from modelworks.protocol.manifest.alerts import AlertRouting
from modelworks.protocol.manifest.load import Loaded, nearest
from modelworks.protocol.manifest.problems import Path, Problem, spelt


def checked(manifest: Manifest, use_cases: Collection[str] = ()) -> Manifest:
    """The same, its notifiers and actions looked at; no secret is read.

    Args:
        manifest: of alerts.
        use_cases: that there are.

    Raises:
        ManifestError: all that is wrong.
    """
    problems = [
        problem
        for loaded in manifest.documents
        if isinstance(loaded.document, AlertRouting)
        for problem in _problems(loaded, use_cases)
    ]
    if problems:
        raise ManifestError(problems)
    return manifest


def _problems(loaded: Loaded, use_cases: Collection[str]) -> Iterator[Problem]:
    spec = loaded.document.spec
    for place, receiver in enumerate(spec.receivers):
        for number, told in enumerate(receiver.notifiers):
            here: Path = ("spec", "receivers", place, "notifiers", number)
            yield from _notifier(loaded, here, told.type, told.settings)
    for place, action in enumerate(spec.actions):
        if action.webhook is not None:
            here = ("spec", "actions", place, "webhook")
            yield from _settings(loaded, here, "webhook", action.webhook)
        elif action.use_case not in use_cases:
            here = ("spec", "actions", place, "use_case")
            near = nearest(action.use_case or "", use_cases) or ": none is registered"
            yield _problem(loaded, here, f"there is no use case '{action.use_case}'{near}")


def _notifier(loaded: Loaded, path: Path, kind: str, settings: dict[str, str]) -> Iterator[Problem]:
    known = available("notifiers")
    if kind not in known:
        words = f"there is no notifier '{kind}'{nearest(kind, known)}"
        yield _problem(loaded, (*path, "type"), words)
        return
    yield from _settings(loaded, (*path, "settings"), kind, settings)


def _settings(loaded: Loaded, path: Path, kind: str, settings: dict[str, str]) -> Iterator[Problem]:
    try:
        known = load("notifiers", kind).settings
    except ModelworksError as error:
        yield _problem(loaded, path, error.message)
        return
    for name in settings:
        if name in known:
            continue
        if f"{name}_file" in known:
            words = f"a secret is not written here: {name}_file or {name}_variable says where it is"
        else:
            words = f"'{kind}' has no such setting{nearest(name, known)}"
        yield _problem(loaded, (*path, name), words)


def _problem(loaded: Loaded, path: Path, message: str) -> Problem:
    return Problem(loaded.source.mark(path), spelt(path), message)
