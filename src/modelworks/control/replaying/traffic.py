"""Recorded requests, ready to be sent again; what cannot be sent is counted by its reason."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.fields import Fields, Left
from modelworks.core.errors import InvalidError
from modelworks.core.records import Batch
from modelworks.core.tensor import Datatype, Signature
from modelworks.evaluation.columns import name_of
from modelworks.monitor.quality.rows import TRUTH
from modelworks.protocol.oip.caller import build_request
from modelworks.protocol.tensors import BINARY_ONLY, Array

BYTES: Final = 512 * 1024 * 1024
"""Of all requests that are held at a time."""
_COPY: Final = "~"
_OUT: Final = "out."


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came.

    Attributes:
        id: of it.
        at_ns: UTC, when it was complete.
        status: HTTP, of the answer that the caller got.
        total_ns: that the answer took in the server.
        rows: items.
        body: that is sent.
        content_type: of it.
        headers: further ones.
        outputs: output -> a value an item, as recorded; empty = they were not.
        truth: an item each; None = not known.
        slices: of each slice that is asked for, the items that lie in it.
    """

    id: str
    at_ns: int
    status: int
    total_ns: int
    rows: int
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    outputs: Mapping[str, list[Any]] = field(default_factory=dict, repr=False)
    truth: tuple[Any, ...] = field(default=(), repr=False)
    slices: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a window holds.

    Attributes:
        requests: that can be played, in the order of time.
        found: requests of the model in the window.
        ours: of them, those that the stable version answered.
        left: why others cannot be played -> how many.
    """

    requests: tuple[Recorded, ...]
    found: int
    ours: int
    left: dict[str, int]

    @property
    def digest(self) -> str:
        """Of which records these are."""
        made = hashlib.sha256()
        for one in self.requests:
            made.update(f"{one.id}\0{one.at_ns}\n".encode())
        return f"sha256:{made.hexdigest()}"


def read(asked: Asked, signature: Signature, batches: Iterable[Batch]) -> Traffic:
    """The requests of some batches.

    Of more than are asked for, so many are drawn (Vitter, "Random sampling with a reservoir", ACM
    TOMS 11, 1985, algorithm R), the same ones each time.

    Args:
        asked: which.
        signature: of the candidate.
        batches: records joined with the truth, whole requests in each, in the order of time.

    Raises:
        InvalidError: more than is held at a time.
    """
    kept: list[Recorded] = []
    left: Counter[str] = Counter()
    found, ours, playable, held = 0, 0, 0, 0
    chance = random.Random(0)  # noqa: S311 - nobody is to be surprised by it
    for batch in batches:
        for one in _Hour(asked, signature, batch).requests():
            found += 1
            ours += not isinstance(one, Left) or one.ours
            if isinstance(one, Left):
                left[str(one)] += 1
                continue
            playable += 1
            place = len(kept) if len(kept) < asked.limit else chance.randrange(playable)
            if place < asked.limit:
                made = one()
                held += len(made.body) - sum(len(old.body) for old in kept[place : place + 1])
                kept[place : place + 1] = [made]
            if held > BYTES:
                raise InvalidError(
                    f"the requests have over {BYTES >> 20} MB: lower --limit", field="limit"
                )
    if playable > len(kept):
        left["not drawn: more came than --limit"] = playable - len(kept)
    kept.sort(key=lambda one: (one.at_ns, one.id))
    return Traffic(tuple(kept), found, ours, dict(left.most_common()))


class _Hour:
    """One batch."""

    def __init__(self, asked: Asked, signature: Signature, batch: Batch) -> None:
        self._asked = asked
        self._columns = batch.columns
        self._count = batch.count
        self._fields = Fields(signature, batch.columns)
        self._kinds = {spec.name: spec.datatype for spec in signature.inputs}
        self._plain = {
            name: batch.columns[name].tolist()
            for name in ("id", "at_ns", "arm", "version", "status", "total_ns", "left_out")
            if name in batch.columns
        }
        self._inputs = any(name.startswith("in.") for name in batch.columns)

    def requests(self) -> Iterator[Callable[[], Recorded] | Left]:
        """What makes each, or why it cannot be played."""
        ids, times = self._plain["id"], self._plain["at_ns"]
        start = 0
        for stop in range(1, self._count + 1):
            if stop < self._count and (ids[stop], times[stop]) == (ids[start], times[start]):
                continue
            try:
                yield partial(self._made, start, stop, self._inputs_of(start, stop))
            except Left as left:
                yield left
            start = stop

    def _inputs_of(self, start: int, stop: int) -> dict[str, Array]:
        """The tensors of a request; raises `Left`."""
        plain = {name: values[start] for name, values in self._plain.items()}
        if plain.get("arm") and plain["id"].endswith(f"{_COPY}{plain['arm']}"):
            raise Left("copies for shadows", ours=False)
        if plain["version"] != self._asked.stable:
            words = f"answered by {plain['version']}, not by {self._asked.stable}"
            raise Left(words, ours=False)
        if "inputs" in list(plain.get("left_out") or ()):
            raise Left("the body was over the policy's max_bytes, or could not be read")
        if not self._inputs:
            raise Left("the policy keeps no inputs")
        return self._fields.inputs(start, stop)

    def _made(self, start: int, stop: int, inputs: Mapping[str, Array]) -> Recorded:
        plain = {name: values[start] for name, values in self._plain.items()}
        body, kind, headers = _body(inputs, self._kinds)
        return Recorded(
            *(plain["id"], int(plain["at_ns"]), int(plain["status"]), int(plain["total_ns"])),
            *(stop - start, body, kind.decode()),
            tuple((name.decode(), value.decode()) for name, value in headers),
            self._outputs(start, stop),
            tuple(self._values(TRUTH, start, stop)),
            tuple(self._inside(one, start, stop) for one in self._asked.slices),
        )

    def _outputs(self, start: int, stop: int) -> dict[str, list[Any]]:
        found = {
            name.removeprefix(_OUT): self._values(name, start, stop)
            for name in self._columns
            if name.startswith(_OUT)
        }
        return {name: items for name, items in found.items() if None not in items}

    def _values(self, name: str, start: int, stop: int) -> list[Any]:
        values = self._columns.get(name)
        return [None] * (stop - start) if values is None else values[start:stop].tolist()

    def _inside(self, slice_: str, start: int, stop: int) -> frozenset[int]:
        name, _, wanted = slice_.partition("=")
        name = f"in.{name}" if f"in.{name}" in self._columns else name
        values = self._values(name, start, stop)
        return frozenset(place for place, one in enumerate(values) if name_of(one) == wanted)


def _body(
    inputs: Mapping[str, Array], kinds: Mapping[str, Datatype]
) -> tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]:
    """JSON wherever it says the same: every server of the protocol takes that."""
    binary = any(kind in BINARY_ONLY for kind in kinds.values())
    return build_request(inputs, datatypes=kinds, binary=binary)
