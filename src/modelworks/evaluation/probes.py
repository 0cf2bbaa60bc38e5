"""Rows to try a model with, generated from its signature: seeded, by sort, as callers hold them.

Numbers are float64 even where the model takes float32, because that is what callers have before
their values are rounded: the rounding belongs to what is being checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.core.imports import Ranges
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors, TensorSpec
from modelworks.protocol.tensors import DTYPES, FLOATS

BATCH_SIZES = (1, 2, 7, 16)
OFFSET = 1e6
UNKNOWN = "modelworks-unknown"


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of one sort.

    Attributes:
        name: `range`, `missing`, `zero`, `negative`, `unknown`, `offset`.
        inputs: input name -> array; floats as float64.
        optional: a source that refuses such rows is right to: they are left out.
        may_refuse: a conversion may refuse them too, loudly, where the source does not.
    """

    name: str
    inputs: dict[str, Any]
    optional: bool = True
    may_refuse: bool = False


def generate(
    signature: Signature,
    ranges: Mapping[str, Ranges],
    seed: int = 0,
    rows: int = 256,
    lengths: tuple[int, int] = (3, 5),
) -> list[Probe]:
    """Rows of every sort that the signature allows.

    Args:
        signature: of the model. Where axis 0 is fixed, that many rows are made.
        ranges: by feature name (or its number, where features have no names) for `MATRIX`, by input
            name otherwise.
        seed: the same seed gives the same rows.
        rows: of the main sort; the others have a quarter.
        lengths: of dynamic axes other than the batch: of most rows, and of the sort `axes`.
    """
    maker = _Maker(signature, ranges, np.random.default_rng(seed), lengths[0])
    few = max(rows // 4, 16)
    probes = [Probe("range", maker.rows(rows), optional=False)]
    if maker.wide_axes:
        probes.append(Probe("axes", maker.rows(few, axis=lengths[1])))
    # Scalars, and a batch axis fixed at none, have no rows whose values could differ.
    if maker.floats and all(spec.shape and spec.shape[0] != 0 for spec in signature.inputs):
        base = maker.rows(few)
        if maker.nan_allowed:
            probes.append(Probe("missing", maker.missing(base)))
            empty = maker.each_float(base, lambda x, _: np.full_like(x, np.nan))
            probes.append(Probe("empty", {k: v[:4] for k, v in empty.items()}, may_refuse=True))
        probes += [
            Probe("zero", maker.each_float(base, lambda x, _: np.zeros_like(x))),
            Probe("negative", maker.each_float(base, lambda x, _: -x)),
            Probe("wide", maker.each_float(base, lambda x, r: x + 4 * _spread(x) * r)),
            Probe("offset", maker.each_float(base, lambda x, r: x + OFFSET * np.sign(r))),
        ]
    if maker.texts and all(spec.shape and spec.shape[0] != 0 for spec in maker.texts):
        probes.append(Probe("unknown", maker.unknown(maker.rows(few))))
    return probes


def known_range(signature: Signature, ranges: Mapping[str, Ranges]) -> bool:
    """Whether it is known of every number that the model takes where its training values lay."""
    floats = [spec for spec in signature.inputs if spec.datatype in FLOATS]
    if signature.layout is Layout.MATRIX and floats:
        width = floats[0].shape[1] or 0
        names = signature.features or tuple(str(i) for i in range(width))
    else:
        names = tuple(spec.name for spec in floats)
    return all(name in ranges for name in names)


def narrow(inputs: Tensors, signature: Signature) -> dict[str, Any]:
    """The rows in the signature's own datatypes: what the converted model is given."""
    result = {}
    for spec in signature.inputs:
        array = np.asarray(inputs[spec.name])
        if spec.datatype is Datatype.BYTES:
            result[spec.name] = array
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            result[spec.name] = array.astype(DTYPES[spec.datatype], copy=False)
    return result


def nudge(
    inputs: Tensors, signature: Signature, random: np.random.Generator, roundings: float
) -> dict[str, Any]:
    """The rows with every float32 input moved at random, by up to so many of its roundings.

    A source's answer to them shows what no float32 model can tell apart.
    """
    result = {}
    for spec in signature.inputs:
        array = np.asarray(inputs[spec.name])
        if spec.datatype is Datatype.FP32 and array.dtype.kind == "f":
            step = 2.0**-24 if array.dtype == np.float64 else 2.0**-23  # else it rounds away
            moves = random.uniform(-roundings, roundings, array.shape) * step
            array = (array + moves * np.abs(array)).astype(array.dtype)
        result[spec.name] = array
    return result


def batches(rows: int, signature: Signature) -> Iterator[slice]:
    """Slices of every size in `BATCH_SIZES` over the first rows, then all the rest at once.

    One fixed size where the signature's batch axis is fixed.
    """
    fixed = next((s.shape[0] for s in signature.inputs if s.shape and s.shape[0] is not None), None)
    if fixed == 0:
        yield slice(0, 0)
        return
    if fixed is not None:
        for start in range(0, rows - fixed + 1, fixed):
            yield slice(start, start + fixed)
        return
    start = 0
    for size in BATCH_SIZES:
        if start + size > rows:
            break
        yield slice(start, start + size)
        start += size
    if start < rows:
        yield slice(start, rows)


def take(tensors: Tensors, part: slice) -> dict[str, Any]:
    """Those rows of every tensor."""
    return {name: array[part] for name, array in tensors.items()}


class _Maker:
    def __init__(
        self,
        signature: Signature,
        ranges: Mapping[str, Ranges],
        random: np.random.Generator,
        length: int,
    ) -> None:
        self._signature, self._ranges, self._random = signature, ranges, random
        self._length = length
        inputs = signature.inputs
        self.floats = [s for s in inputs if s.datatype in FLOATS - {Datatype.BF16}]
        self.texts = [s for s in inputs if s.datatype is Datatype.BYTES]
        self.nan_allowed = any(spec.allow_nan for spec in self.floats)
        self.wide_axes = any(None in spec.shape[1:] for spec in inputs)

    def rows(self, count: int, axis: int | None = None) -> dict[str, Any]:
        """In-range rows; dynamic axes other than the batch have length `axis`, else the usual."""
        length = self._length if axis is None else axis
        return {spec.name: self._tensor(spec, count, length) for spec in self._signature.inputs}

    def missing(self, base: dict[str, Any]) -> dict[str, Any]:
        """A third of the values that may be missing are, and never a whole row."""
        allowed = {spec.name for spec in self.floats if spec.allow_nan}
        result = dict(base)
        for name in sorted(allowed):
            array = base[name].copy()
            gone = self._random.random(array.shape) < 1 / 3
            array[gone] = np.nan
            result[name] = array
        first = base[min(allowed)]
        whole = np.ones(len(first), bool)
        for name in allowed:
            whole &= np.isnan(result[name].reshape(len(first), -1)).all(axis=1)
        result[min(allowed)][whole] = first[whole]
        return result

    def each_float(self, base: dict[str, Any], change: Any) -> dict[str, Any]:
        """Every float input changed by `change(values, standard normal values)`."""
        result = dict(base)
        for spec in self.floats:
            array = base[spec.name]
            result[spec.name] = change(array, self._random.standard_normal(array.shape))
        return result

    def unknown(self, base: dict[str, Any]) -> dict[str, Any]:
        """One text in each row that no training set had."""
        result = {spec.name: base[spec.name].copy() for spec in self.texts}
        for row in range(len(result[self.texts[0].name])):
            array = result[self.texts[row % len(self.texts)].name]
            array[row] = UNKNOWN.encode()
        return {**base, **result}

    def _tensor(self, spec: TensorSpec, count: int, axis: int) -> Any:
        count = _whole(count, spec)
        shape = (count, *(axis if size is None else size for size in spec.shape[1:]))
        if not spec.shape:
            shape = ()
        if self._signature.layout is Layout.MATRIX and len(shape) == 2:
            keys = self._signature.features or [str(i) for i in range(shape[1])]
            columns = [self._values(spec, self._ranges.get(key), (count,)) for key in keys]
            return np.stack(columns, axis=1) if columns else np.zeros(shape)
        return self._values(spec, self._ranges.get(spec.name), shape)

    def _values(self, spec: TensorSpec, known: Ranges | None, shape: tuple[int, ...]) -> Any:
        known = known or Ranges()
        values = list(known.values or spec.categories)
        if spec.datatype is Datatype.BYTES:
            texts = [str(v).encode() for v in values] or [b"", b"a", b"some text", "né".encode()]
            return self._choose(texts, shape)
        if values and not isinstance(values[0], str):
            chosen = self._random.choice(np.asarray(values, np.float64), shape)
            return chosen if spec.datatype in FLOATS else chosen.astype(DTYPES[spec.datatype])
        if spec.datatype is Datatype.BOOL:
            return self._random.random(shape) < 0.5
        if spec.datatype in FLOATS:
            return self._reals(known, shape, spec.datatype)
        return self._integers(spec.datatype, known, shape)

    def _reals(self, known: Ranges, shape: tuple[int, ...], datatype: Datatype) -> Any:
        if known.low is None and known.high is None:
            values = self._random.standard_normal(shape)
        else:
            low = known.low if known.low is not None else (known.high or 0.0) - 10.0
            high = known.high if known.high is not None else low + 10.0
            values = self._random.uniform(low, high, shape)
        if datatype is Datatype.BF16:
            return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return values

    def _integers(self, datatype: Datatype, known: Ranges, shape: tuple[int, ...]) -> Any:
        bounds = np.iinfo(DTYPES[datatype])
        low = int(known.low) if known.low is not None else 0
        high = int(known.high) if known.high is not None else max(low, 1)
        low, high = max(low, int(bounds.min)), min(high, int(bounds.max))
        return self._random.integers(low, high, shape, dtype=DTYPES[datatype], endpoint=True)

    def _choose(self, texts: list[bytes], shape: tuple[int, ...]) -> Any:
        pool = np.empty(len(texts), dtype=object)
        pool[:] = texts
        return pool[self._random.integers(0, len(texts), shape)]


def _whole(count: int, spec: TensorSpec) -> int:
    """The count as a multiple of a fixed batch axis."""
    fixed = spec.shape[0] if spec.shape else None
    return count if fixed is None else fixed * max(1, min(count // max(fixed, 1), 4))


def _spread(values: Any) -> Any:
    return np.nanstd(values, axis=0, keepdims=True) + 1e-3
