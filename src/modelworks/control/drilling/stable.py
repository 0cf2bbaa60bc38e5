"""What the stable version says to the rows of a drill: what is right, and how long it takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import urllib3

from modelworks.control.drilling.place import Place
from modelworks.control.drilling.pool import Row, made_up
from modelworks.control.drilling.traffic import answered
from modelworks.control.watching.counting import counters
from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Role, Signature
from modelworks.measure.inputs import FREE
from modelworks.monitor.series.names import STAGES
from modelworks.protocol.oip.caller import InferAnswer

_LOADED_S: Final = 120.0
_FEWEST: Final = 8
"""Different rows: with fewer the share that is spoilt would be far from what is wanted."""
_BUCKET: Final = f"{STAGES[0]}_bucket"
_TIMES: Final = 400  # requests at least, for its latency


@dataclass(frozen=True, slots=True)
class Stable:
    """What is known of the stable version.

    Attributes:
        rows: that it answers.
        truths: its label or number for each: what counts as right; None = it says neither.
        shape: histogram of milliseconds, upper bound -> requests.
    """

    rows: tuple[Row, ...]
    truths: tuple[Any, ...]
    shape: dict[str, int]


def ask_stable(
    place: Place, model: str, version: str, signature: Signature, recorded: Sequence[Row]
) -> Stable:
    """Ask it every row; rows that it refuses are left out.

    Args:
        place: the drill's installation.
        model: name.
        version: of the stable one.
        signature: of it.
        recorded: rows to ask; none = they are made up.

    Raises:
        InvalidError: it refuses nearly everything.
        CrashedError: it was not loaded in time.
    """
    url = f"{place.server}/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"
    with urllib3.PoolManager(retries=False) as pool:
        _loaded(pool, place, url)
        rows = list(recorded) or _made_up(pool, f"{url}/infer", signature)
        kept, truths, said = [], [], ""
        for row in rows:
            found = answered(pool, f"{url}/infer", row)
            if isinstance(found, str):
                said = said or found
                continue
            kept.append(row)
            truths.append(truth(found, signature))
        if len({row.digest for row in kept}) < _FEWEST:
            words = f"only {len(kept)} of {len(rows)} inputs are answered, and {_FEWEST} different"
            raise InvalidError(f"{words} ones are wanted ({said or 'no others can be made'})")
        for number in range(_TIMES - len(rows)):
            answered(pool, f"{url}/infer", kept[number % len(kept)])
        metrics = pool.request("GET", f"{place.server}/metrics", timeout=10)
        counted = counters(metrics.data.decode())
    return Stable(tuple(kept), tuple(truths), _shape(counted, model, version))


def truth(answer: InferAnswer, signature: Signature) -> Any:
    """The label that an answer says, else its likeliest class, else its number; None = neither."""
    label = signature.output(Role.LABEL)
    if label is not None and label.name in answer.outputs:
        return _plain(answer.outputs[label.name])
    sure = signature.output(Role.PROBABILITIES)
    if sure is not None and sure.name in answer.outputs:
        values = np.asarray(answer.outputs[sure.name], np.float64).reshape(-1)
        place = int(values.argmax()) if values.size > 1 else int(values[0] >= 0.5)
        return signature.classes[place] if place < len(signature.classes) else place
    number = signature.output(Role.SCORE)
    return None if number is None else _plain(answer.outputs[number.name])


def _made_up(pool: urllib3.PoolManager, url: str, signature: Signature) -> list[Row]:
    """Rows of a length that it takes."""
    free = any(axis is None for spec in signature.inputs for axis in spec.shape[1:])
    said = ""
    for length in FREE if free else FREE[:1]:
        tried = made_up(signature, length, _FEWEST)
        found = [answered(pool, url, row) for row in tried]
        if any(not isinstance(one, str) for one in found):
            return made_up(signature, length)
        said = said or str(found[0])
    raise InvalidError(
        f"the model refuses all inputs that can be made up ({said}): drill it with --records",
        field="records",
    )


def _loaded(pool: urllib3.PoolManager, place: Place, url: str) -> None:
    end = time.monotonic() + _LOADED_S
    while time.monotonic() < end:
        if not place.alive():
            raise CrashedError("the drill's own installation ended in the middle of it")
        try:
            if pool.request("GET", f"{url}/ready", timeout=5).status == 200:
                return
        except (urllib3.exceptions.HTTPError, OSError):
            pass
        time.sleep(0.2)
    raise CrashedError(f"the stable version was not loaded in {_LOADED_S:g} s")


def _shape(counted: Any, model: str, version: str) -> dict[str, int]:
    return {
        repr(float(bound) * 1000): int(value)
        for (of, number, kind, bound), value in counted.items()
        if (of, number, kind) == (model, version, _BUCKET)
    }


def _plain(array: Any) -> Any:
    item = np.asarray(array).reshape(-1)[0]
    plain = item.item() if isinstance(item, np.generic) else item
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain
