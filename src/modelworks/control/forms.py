"""Which form of a version is meant, at a place: this machine, or where a deployment runs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from modelworks.control.plan import Choice
from modelworks.core.errors import ModelworksError, NotFoundError, UnsupportedError
from modelworks.core.model import ModelVersion
from modelworks.core.optimizing.variants import SOURCE, Variant
from modelworks.core.semver import Semver
from modelworks.optimize.hardware import this_machine
from modelworks.plugins import load
from modelworks.registry.pick import Picked, pick

if TYPE_CHECKING:  # embedded models pick forms without a database
    from modelworks.registry.service import Registry

_log = logging.getLogger(__name__)
_LIBRARIES: Final = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
    "trees": "llvmlite",
    "genai": "onnxruntime_genai",
    "llamacpp": "llama_cpp",
    "vllm": "vllm",
}
"""Engine -> what it imports: a control plane looks, and need not load it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a form is to run.

    Attributes:
        hardware: kind of it; None = it is not known.
        installed: an engine has to be installed here; otherwise an image brings it.
    """

    hardware: str | None
    installed: bool = True


ANYWHERE: Final = Place(None, installed=False)
"""Where nothing is known of the machine, and an image brings the engine."""


@cache
def here() -> Place:
    """This machine, in this Python."""
    return Place(this_machine().kind)


class Forms:
    """Picks forms of one tenant's versions.

    Args:
        registry: that keeps them.
    """

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry
        self._known: dict[tuple[str, Semver], tuple[object, Variant | None]] = {}
        self._said: set[str] = set()

    def pick(self, version: ModelVersion, want: str, place: Place) -> Picked:
        """The form that is meant: see `registry.pick.pick`.

        Raises:
            NotFoundError: no variant of that name.
            UnsupportedError: it is nothing for that place.
        """
        variants = [] if want == SOURCE else self._registry.variants(version.ref)
        return chosen(version.ref, variants, want, place)

    def standing(self, choices: Iterable[Choice], want: str) -> dict[tuple[str, Semver], Variant]:
        """The forms that a goal means now, of those versions for which it is not the source form.

        What did not change since the last call is not read again; what it came to is logged once.
        """
        if want == SOURCE:
            return {}
        told: dict[tuple[str, Semver], list[tuple[str, str]]] = {}
        for one in self._registry.variant_outline():
            told.setdefault((one.model, one.version), []).append((one.name, one.artifact))
        known, self._known = self._known, {}
        for choice in choices:
            key = (choice.name, choice.version)
            mark = (want, tuple(told.get(key, ())))
            before = known.get(key)
            again = before is not None and before[0] == mark
            self._known[key] = before if again and before else (mark, self._now(choice, want))
        return {key: variant for key, (_, variant) in self._known.items() if variant is not None}

    def _now(self, choice: Choice, want: str) -> Variant | None:
        ref = f"{choice.name}:{choice.version}"
        try:
            found = pick(self._registry.variants(ref), want, here().hardware, missing)
        except ModelworksError as error:  # deleted meanwhile, or no such form
            found = Picked(None, error.message)
        name = found.variant.name if found.variant else SOURCE
        if (line := f"{ref}: {want} is {name}: {found.why}") not in self._said:
            self._said.add(line)
            _log.info("%s", line)
        return found.variant


def chosen(ref: str, variants: Sequence[Variant], want: str, place: Place) -> Picked:
    """The form of one version that is meant: see `registry.pick.pick`.

    Args:
        ref: of the version, for messages.
        variants: of it.
        want: `source`, a goal, or a variant's name.
        place: where it is to run.

    Raises:
        NotFoundError: no variant of that name.
        UnsupportedError: it is nothing for that place.
    """
    try:
        return pick(variants, want, place.hardware, missing if place.installed else _brought)
    except (NotFoundError, UnsupportedError) as error:
        raise type(error)(f"{ref}: {error.message}", field="variant") from error


def missing(engine: str) -> str:
    """Why an engine cannot run here; empty = it can."""
    if engine not in load.available("engines"):
        return f"no engine '{engine}' is installed"
    if (library := _LIBRARIES.get(engine)) is not None:
        found = find_spec(library) is not None
        extra = f"pip install 'modelworks[{engine}]'"
        return "" if found else f"its engine needs {library}, which is not installed: {extra}"
    try:
        load.load("engines", engine)
    except ModelworksError as error:
        return error.message
    return ""


def _brought(_engine: str) -> str:
    """An image has the engines of what is in it."""
    return ""
