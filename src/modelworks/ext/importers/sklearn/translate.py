"""From a fitted estimator to an ONNX model with a signature, by skl2onnx."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.algebra.onnx_operator import OnnxOperator
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier

from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.core.seams import Session
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors, TensorSpec
from modelworks.evaluation.parity import as_text
from modelworks.evaluation.probes import narrow
from modelworks.ext.importers.onnx.meaning import strip_zipmap
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.sklearn import boosted, graph, missing
from modelworks.ext.importers.sklearn.columns import MATRIX, Columns
from modelworks.ext.importers.sklearn.source import (
    Answer,
    Method,
    Source,
    answers,
    by_target,
    quiet,
)
from modelworks.ext.importers.sklearn.truths import as_numbers
from modelworks.ext.importers.sklearn.walk import every, unwrapped

OPSETS = {"": 18, "ai.onnx.ml": 3}
_TYPES = {
    Datatype.FP32: FloatTensorType,
    Datatype.FP64: DoubleTensorType,
    Datatype.INT64: Int64TensorType,
    Datatype.BOOL: BooleanTensorType,
    Datatype.BYTES: StringTensorType,
}


Opener = Callable[[onnx.ModelProto], Session]


@dataclass(frozen=True, slots=True)
class Converted:
    """A model and what it says.

    Attributes:
        model: ONNX.
        signature: its.
        methods: output name -> the source's method.
        notes: choices made.
    """

    model: onnx.ModelProto
    signature: Signature
    methods: dict[str, Method]
    notes: tuple[str, ...]


def translate(
    source: Source, columns: Columns, real: Datatype, rows: Tensors, open_: Opener
) -> Converted:
    """Convert with `real` (FP32 or FP64) for numbers.

    Args:
        source: fitted.
        columns: what it takes.
        real: type of numbers.
        rows: a few rows that the source accepts, to see shapes and what outputs mean.
        open_: ONNX model -> `Session`.

    Raises:
        UnsupportedError: skl2onnx does not convert it.
    """
    estimator = unwrapped(source.estimator)
    for part in every(estimator):
        if isinstance(part, VotingClassifier):
            part.flatten_transform = False  # the converter knows only this, predict never looks
    boosted.register()
    fed = boosted.sparse_fed(source, rows)
    raw = _raw(estimator, columns, real, boosted.options_for(fed))
    strip_zipmap(raw)
    graph.set_locale(raw)
    missing.restore(raw, estimator)
    inputs = columns.inputs(real)
    unused = graph.unused_inputs(raw) if len(raw.graph.input) == len(inputs) > 1 else set()
    if unused and len(unused) < len(inputs):
        graph.drop_inputs(raw, unused)
        inputs = tuple(spec for spec in inputs if spec.name not in unused)
    else:
        unused = set()
    candidates = answers(estimator)
    graph.open_sequences(raw, _targets(estimator))
    exits, methods, notes = _exits(source, raw, inputs, candidates, rows, open_)
    model = graph.finish(raw, inputs, exits)
    notes += [
        f"zero counts as missing for the {type(part).__name__}, as a sparse matrix is given to it"
        for part in fed
    ]
    if unused:
        notes.append(f"not asked for, as nothing uses it: {', '.join(sorted(unused)[:10])}")
    features = tuple(f for f in columns.features if f not in unused)
    signature = Signature(
        inputs, tuple(e.spec for e in exits), columns.layout, features, _classes(estimator)
    )
    return Converted(model, signature, methods, tuple(notes))


def _raw(
    estimator: Any, columns: Columns, real: Datatype, known: dict[int, dict[str, Any]]
) -> onnx.ModelProto:
    """What skl2onnx makes, with one input or with one a column, whichever the estimator needs."""
    by_name = columns.named and any(isinstance(e, ColumnTransformer) for e in every(estimator))
    single = len({c.datatype for c in columns.columns}) == 1
    wide = columns.layout is Layout.COLUMNS and not (single and not by_name)
    if (by_name or wide) and not columns.text:
        specs = [
            (c.name, real if c.datatype is Datatype.FP32 else c.datatype, 1)
            for c in columns.columns
        ]
    else:
        kind = columns.columns[0].datatype
        kind = real if kind is Datatype.FP32 else kind
        name = columns.columns[0].name if len(columns.columns) == 1 else MATRIX
        name = MATRIX if columns.layout is Layout.MATRIX else name
        specs = [(name, kind, len(columns.columns))]
    types = [(name, _TYPES[kind]([None, width])) for name, kind, width in specs]
    name = type(estimator).__name__
    options: list[dict[Any, Any] | None] = [
        {**known, id(estimator): {"zipmap": False, **known.get(id(estimator), {})}},
        known or None,
    ]
    logging.getLogger("skl2onnx").setLevel(logging.CRITICAL)
    for option in options:
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                _without_rechecks(),
                as_numbers(estimator),
            ):
                model: onnx.ModelProto = convert_sklearn(
                    estimator,
                    "model",
                    types,
                    target_opset=OPSETS,
                    options=option,
                )
                return model
        except NameError:
            continue  # this estimator has no such option
        except (MissingConverter, MissingShapeCalculator) as error:
            raise UnsupportedError(
                f"skl2onnx has no converter for {_unknown(error) or name}", field="file"
            ) from error
        except (ModelworksError, MemoryError):
            raise
        except Exception as error:
            raise UnsupportedError(
                f"skl2onnx cannot convert this {name}: {reason(error)}", field="file"
            ) from error
    raise UnsupportedError(f"skl2onnx cannot convert this {name}", field="file")


@contextlib.contextmanager
def _without_rechecks() -> Iterator[None]:
    """Switch off a check of skl2onnx that walks shared expressions again for every use of them.

    It only asserts that each was added, and takes minutes for a QuantileTransformer.
    """
    check = OnnxOperator._verify_add_to_
    OnnxOperator._verify_add_to_ = lambda _: None
    try:
        yield
    finally:
        OnnxOperator._verify_add_to_ = check


def _unknown(error: Exception) -> str:
    """The class that the message of a missing converter names."""
    text = str(error)[:400]
    _, _, rest = text.partition("<class '")
    return rest.partition("'")[0].rpartition(".")[2]


def _targets(estimator: Any) -> int:
    classes = getattr(estimator, "classes_", None)
    return len(classes) if isinstance(classes, list) else 1


def _classes(estimator: Any) -> tuple[Any, ...]:
    classes = getattr(estimator, "classes_", None)
    if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
        return ()
    plain = np.asarray(classes).tolist()
    return tuple(v if isinstance(v, str | int | float | bool) else str(v) for v in plain)


def _exits(
    source: Source,
    raw: onnx.ModelProto,
    inputs: tuple[TensorSpec, ...],
    candidates: list[list[Answer]],
    rows: Tensors,
    open_: Opener,
) -> tuple[list[graph.Exit], dict[str, Method], list[str]]:
    """Match the converter's outputs with what the source says."""
    seen = _observed(raw, inputs, rows, open_)
    if len(seen) > len(candidates):
        candidates = candidates[:1] + by_target(unwrapped(source.estimator), len(seen) - 1)
    table = source.table(rows)
    exits: list[graph.Exit] = []
    methods: dict[str, Method] = {}
    notes = []
    taken = {spec.name for spec in inputs}
    for (name, datatype, value), options in zip(seen, candidates, strict=False):
        found = _match(value, options, table)
        if found is None:
            notes.append(
                f"the converter's output '{name}' is nothing that the source says: left out"
            )
            continue
        title = found.answer.name
        title = title if title not in taken else f"predicted_{title}"
        taken.add(title)
        spec = TensorSpec(title, datatype, (None, *found.shape[1:]), found.answer.role)
        exits.append(graph.Exit(name, spec, found.permutation, found.flatten))
        methods[title] = found.answer.call
    if not exits:
        raise UnsupportedError("no output of the conversion is anything that the source says")
    return exits, methods, notes


def _observed(
    raw: onnx.ModelProto, inputs: tuple[TensorSpec, ...], rows: Tensors, open_: Opener
) -> list[tuple[str, Datatype, Any]]:
    """Name, datatype and value of every output on these rows."""
    session = open_(graph.observable(raw, inputs))
    try:
        given = {spec.name: rows[spec.name] for spec in inputs}
        values = session.infer(narrow(given, Signature(inputs, ())))
        specs = session.signature.outputs
        return [(s.name, s.datatype, v) for s, v in zip(specs, values, strict=True)]
    finally:
        session.close()


@dataclass(frozen=True, slots=True)
class _Match:
    answer: Answer
    shape: tuple[int, ...]
    permutation: tuple[int, ...] = ()
    flatten: bool = False


def _match(value: Any, options: list[Answer], table: Any) -> _Match | None:
    """The first answer with these values, else the first with this shape: parity will judge it."""
    fitting = []
    for answer in options:
        try:
            with quiet():
                expected = answer.call(table)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue
        match, seen = _shaped(answer, value, expected)
        if match is None:
            continue
        if _alike(seen, expected):
            return match
        fitting.append(match)
    return fitting[0] if fitting else None


def _shaped(answer: Answer, value: Any, expected: Any) -> tuple[_Match | None, Any]:
    shape = np.shape(expected)
    if value.shape == shape:
        return _Match(answer, shape), value
    if value.ndim == 2 and len(shape) == 1 and value.size == shape[0]:
        return _Match(answer, shape, flatten=True), value.ravel()
    if value.ndim == 3 and len(shape) == 3 and value.transpose(1, 0, 2).shape == shape:
        return _Match(answer, shape, permutation=(1, 0, 2)), value.transpose(1, 0, 2)
    return None, value


def _alike(seen: Any, expected: Any) -> bool:
    """Whether most values are the same, roughly."""
    if "O" in {expected.dtype.kind, seen.dtype.kind}:
        return bool(np.mean(as_text(seen) == as_text(expected)) > 0.5)
    close = np.isclose(
        seen.astype(np.float64), expected.astype(np.float64), 1e-2, 1e-3, equal_nan=True
    )
    return bool(close.mean() > 0.5)
