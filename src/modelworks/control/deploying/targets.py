"""Targets by name: the plug-in, and the place that a manifest's settings mean."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelworks.control.forms import Place, here
from modelworks.core.desired import Desired
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.seams import OpenTarget, Target
from modelworks.plugins import load


def kind_of(name: str) -> Target:
    """The plug-in.

    Raises:
        NotFoundError: no such target; the message lists what is installed.
        MissingExtraError: it needs a library that is not there.
    """
    try:
        found: Target = load.load("targets", name)()
    except NotFoundError as error:
        raise NotFoundError(error.message, field="spec.target") from None
    return found


@contextlib.contextmanager
def opened(kind: Target, settings: Mapping[str, str], folder: Path) -> Iterator[OpenTarget]:
    """Reach a target; closed afterwards, where there is anything to close.

    Args:
        kind: of it.
        settings: of a manifest.
        folder: of all targets on this machine.

    Raises:
        InvalidError: a setting that cannot be.
        UnavailableError: nobody answers there.
    """
    if unknown := sorted(set(settings) - set(kind.settings)):
        known = ", ".join(sorted(kind.settings)) or "none"
        raise InvalidError(
            f"'{unknown[0]}' is no setting of the target '{kind.name}'; known are: {known}",
            field="spec.target.settings",
        )
    place = folder / kind.name
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = kind.open(settings, place)
    try:
        yield target
    finally:
        close = getattr(target, "close", None)
        if close is not None:
            close()


def place_of(kind: Target, settings: Mapping[str, str]) -> Place:
    """Where a deployment runs, as far as it is known.

    A target that is a machine's own runs on the hardware that is here; of a cluster's machines
    nothing is known. An image brings the engine.
    """
    mine = kind.nearby and not settings.get("host")
    return Place(here().hardware if mine else None, installed=not kind.images)


def elsewhere(kind: Target, desired: Desired, machine: str) -> str:
    """Why a deployment cannot be reached from here; "" = it can.

    A target that is a machine's own (its processes, its engine) is where it was asked for: another
    one that shares the database would find nothing there, and start all of it once more.
    """
    if not kind.nearby or desired.settings.get("host") or desired.machine == machine:
        return ""
    host, _, home = desired.machine.partition(":")
    return (
        f"deployment '{desired.name}' runs on '{kind.name}' of {host} (data folder {home}): do "
        "this there"
    )
