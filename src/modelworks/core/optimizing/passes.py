"""What a pass says of itself, what it is given and what it hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature


class Need(StrEnum):
    """What a pass cannot do without."""

    ROWS = "rows"  # calibration inputs, without labels
    LABELS = "labels"  # of the calibration rows


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a pass's configuration.

    Attributes:
        name: of it.
        default: its type is the setting's: bool, int, float, str, or a tuple of str.
        help: one line.
        choices: all values that it may have; empty = see `least` and `most`.
        least: smallest number.
        most: largest number.
    """

    name: str
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class PassFacts:
    """What a pass is.

    Attributes:
        name: its entry point; of plain ASCII, no blank.
        version: rises whenever the same input may give other bytes: caches are cut by it.
        title: what people call it (`int8, static`).
        consumes: artifact formats that it takes.
        produces: the format that it writes.
        engine: that runs what it writes.
        needs: what it cannot do without.
        looks: it looks at calibration rows where there are some, and does without. Who neither
            needs them nor says so is given none: forms are remembered by what made them.
        exact: answers differ by rounding only: no gate on quality is expected to refuse it.
        settings: its configuration.
        keeps: it can leave operators in float by name (`PassJob.keep`).
        libraries: distributions whose versions belong to the recipe and to the cache's key.
        extra: the pip extra that brings them.
        hardware: features that the machine must have (`avx2`, `avx512_vnni`, `cuda`); empty = any.
        experimental: not every proof that a finished plug-in needs is there.
        verified: False = what it writes cannot be run here: it is labelled so, and never chosen.
        size_only: it makes a file smaller when that is compressed, and nothing faster.
        mends: name of a pass whose form it makes as well, taught: worth its time only where that
            form was fast and lost too much.
        unsearched: why no search tries it by itself; empty = it may.
    """

    name: str
    version: int
    title: str
    consumes: tuple[str, ...]
    produces: str
    engine: str
    needs: frozenset[Need] = frozenset()
    looks: bool = False
    exact: bool = False
    settings: tuple[Setting, ...] = ()
    keeps: bool = False
    libraries: tuple[str, ...] = ()
    extra: str = ""
    hardware: tuple[str, ...] = ()
    experimental: bool = True
    verified: bool = True
    size_only: bool = False
    mends: str = ""
    unsearched: str = ""


@dataclass(frozen=True, slots=True)
class PassJob:
    """What a pass is given.

    Attributes:
        source: folder of the artifact; read only.
        format: of it.
        into: an empty folder for the result; the only one, besides the system's temporary folder,
            that may be written.
        signature: of the version: what goes in and out stays as it is.
        settings: complete and checked, see `settled`.
        calibration: npz file, an array a model input, all of the same number of rows; None = there
            is none.
        labels: npy file, one a calibration row; None = there is none.
        keep: operators that stay in float, by the names that `Applied.operators` gave.
        threads: that it may use.
        seed: of everything drawn.
    """

    source: Path
    format: str
    into: Path
    signature: Signature
    settings: Mapping[str, Any] = field(default_factory=dict)
    calibration: Path | None = None
    labels: Path | None = None
    keep: tuple[str, ...] = ()
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """What a pass hands back; the artifact lies in the folder that it was given.

    Attributes:
        format: of it.
        operators: that it changed and could be told to keep (`PassJob.keep`), in the model's order.
        notes: what it did, one sentence each.
        figures: numbers for the report (`nodes`, `quantized`, `sparsity`).
    """

    format: str
    operators: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


def settled(facts: PassFacts, given: Mapping[str, Any]) -> dict[str, Any]:
    """A pass's configuration: what was given, checked, and its defaults.

    Raises:
        InvalidError: an unknown name, another type, or a value out of bounds; `field` names it.
    """
    known = {one.name: one for one in facts.settings}
    for name in given:
        if name not in known:
            wanted = ", ".join(sorted(known)) or "none"
            raise InvalidError(
                f"the pass {facts.name} has no setting '{name}'; its settings: {wanted}", field=name
            )
    return {
        name: _checked(facts.name, one, given.get(name, one.default)) for name, one in known.items()
    }


def _checked(where: str, setting: Setting, value: Any) -> Any:
    kind, name = type(setting.default), setting.name
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not kind:
        raise InvalidError(
            f"{where}: {name} is {value!r}; {kind.__name__} is wanted ({setting.help})", field=name
        )
    if setting.choices and value not in setting.choices:
        wanted = ", ".join(map(str, setting.choices))
        raise InvalidError(f"{where}: {name} is {value!r}, none of {wanted}", field=name)
    if kind in {int, float}:
        low, high = setting.least, setting.most
        if not (low is None or value >= low) or not (high is None or value <= high):
            raise InvalidError(
                f"{where}: {name} is {value}; from {low} to {high} is wanted", field=name
            )
    return value
