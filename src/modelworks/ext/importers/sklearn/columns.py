"""Which columns a fitted estimator takes, and what is in them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, Layout, TensorSpec
from modelworks.ext.importers.samples import Sample
from modelworks.ext.importers.sklearn.walk import first_seen, is_text

MATRIX = "input"
_KINDS = {"b": Datatype.BOOL, "i": Datatype.INT64, "u": Datatype.INT64, "f": Datatype.FP32}
_MANY_CATEGORIES = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """One raw column.

    Attributes:
        name: the estimator's, or `x0`, `x1`, ... where it knows none.
        datatype: FP32 for numbers, BYTES for text, INT64 and BOOL where that is known.
        categories: known texts.
        known: where the datatype comes from; "" = it is only assumed.
    """

    name: str
    datatype: Datatype = Datatype.FP32
    categories: tuple[str, ...] = ()
    known: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """All of them.

    Attributes:
        columns: in the estimator's order.
        named: the names are the estimator's own.
        text: the estimator takes one list of texts.
        layout: how they become inputs.
        notes: choices made.
    """

    columns: tuple[Column, ...]
    named: bool
    text: bool
    layout: Layout
    notes: tuple[str, ...]

    def inputs(self, real: Datatype = Datatype.FP32) -> tuple[TensorSpec, ...]:
        """The input tensors, with `real` for numbers."""
        if self.layout is Layout.MATRIX:
            datatype = self.columns[0].datatype
            datatype = real if datatype is Datatype.FP32 else datatype
            return (TensorSpec(MATRIX, datatype, (None, len(self.columns))),)
        return tuple(
            TensorSpec(
                column.name,
                real if column.datatype is Datatype.FP32 else column.datatype,
                (None, 1),
                categories=column.categories,
            )
            for column in self.columns
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Names for the signature."""
        if self.named or self.layout is Layout.COLUMNS:
            return tuple(column.name for column in self.columns)
        return ()


def find(estimator: Any, options: ImportOptions, sample: Sample | None) -> Columns:
    """What the estimator takes, from the estimator, the options and the sample, in this order.

    Raises:
        InvalidError: it cannot be known, or the sources contradict each other.
    """
    width = getattr(estimator, "n_features_in_", None)
    text = width is None and any(is_text(part) for part, _ in first_seen(estimator, (0,)))
    if text:
        columns = [Column("text", Datatype.BYTES, known="a text vectorizer takes texts")]
        names = None
    else:
        names = getattr(estimator, "feature_names_in_", None)
        width = _width(estimator, width, names, sample)
        titles = [f"x{i}" for i in range(width)] if names is None else [str(n) for n in names]
        columns = [Column(title) for title in titles]
        columns = _from_parts(estimator, columns)
    columns = _from_sample(columns, sample, named=names is not None)
    columns = _from_options(columns, options)
    layout, note = _layout(columns, options.layout)
    guessed = [c.name for c in columns if not c.known and c.datatype is Datatype.FP32]
    notes = [note]
    if guessed and len(guessed) < len(columns) and sample is None:
        notes.append(f"taken for numbers, as nothing says otherwise: {', '.join(guessed[:10])}")
    return Columns(tuple(columns), names is not None, text, layout, tuple(notes))


def _width(estimator: Any, width: Any, names: Any, sample: Sample | None) -> int:
    if width is not None:
        return int(width)
    if names is not None:
        return len(names)
    if sample is not None:
        return len(sample.columns)
    name, tags = type(estimator).__name__, get_tags(estimator).input_tags
    if tags.dict or not tags.two_d_array:
        raise UnsupportedError(
            f"a {name} takes dictionaries, labels or images, not the rows of a table", field="file"
        )
    raise InvalidError(
        f"a {name} does not say how many columns it takes: give a --sample",
        field="sample",
    )


def _from_parts(estimator: Any, columns: list[Column]) -> list[Column]:
    """Datatypes and categories that fitted encoders and imputers have seen."""
    result = list(columns)
    for part, seen in first_seen(estimator, tuple(range(len(columns)))):
        name = type(part).__name__
        if is_text(part):
            for i in seen:
                result[i] = replace(result[i], datatype=Datatype.BYTES, known=name)
            continue
        categories = getattr(part, "categories_", None)
        if isinstance(categories, list) and len(categories) == len(seen):
            for i, values in zip(seen, categories, strict=True):
                result[i] = _categorical(result[i], np.asarray(values), name)
        statistics = np.asarray(getattr(part, "statistics_", ()))
        if statistics.dtype.kind == "O" and len(statistics) == len(seen):
            for i, value in zip(seen, statistics.tolist(), strict=True):
                if isinstance(value, str) and not result[i].known:
                    result[i] = replace(result[i], datatype=Datatype.BYTES, known=name)
    return result


def _categorical(column: Column, values: Any, name: str) -> Column:
    plain = [v for v in values.tolist() if v is not None and v == v]  # noqa: PLR0124 - NaN
    if values.dtype.kind in "OUS" and all(isinstance(v, str) for v in plain):
        return replace(
            column,
            datatype=Datatype.BYTES,
            categories=tuple(plain[:_MANY_CATEGORIES]),
            known=f"categories of {name}",
        )
    if all(isinstance(v, bool | int) for v in plain):
        return replace(column, datatype=Datatype.INT64, known=f"categories of {name}")
    return replace(column, known=f"categories of {name}")


def _from_sample(columns: list[Column], sample: Sample | None, *, named: bool) -> list[Column]:
    if sample is None:
        return columns
    if len(columns) == 1 and len(sample.columns) == 1:
        given = list(sample.columns.values())
    elif named and sample.named:
        missing = [c.name for c in columns if c.name not in sample.columns]
        if missing:
            raise InvalidError(
                f"the sample lacks the column '{missing[0]}' that the model takes", field="sample"
            )
        given = [sample.columns[c.name] for c in columns]
    elif len(sample.columns) == len(columns):
        given = list(sample.columns.values())
    else:
        raise InvalidError(
            f"the sample has {len(sample.columns)} columns and the model takes {len(columns)}",
            field="sample",
        )
    return [_with_sample(c, values) for c, values in zip(columns, given, strict=True)]


def _with_sample(column: Column, values: Any) -> Column:
    """A column that nothing else is known of is what the sample holds; integers stay numbers."""
    if column.known:
        return column
    if values.dtype == object:
        return replace(column, datatype=Datatype.BYTES, known="the sample")
    return replace(column, known="the sample")


def _from_options(columns: list[Column], options: ImportOptions) -> list[Column]:
    by_name = {spec.name: spec.datatype for spec in options.inputs}
    if set(by_name) == {MATRIX}:
        return [replace(c, datatype=by_name[MATRIX], known="--input") for c in columns]
    unknown = sorted(by_name.keys() - {c.name for c in columns})
    if unknown:
        raise InvalidError(
            f"--input {unknown[0]}: the model takes {', '.join(c.name for c in columns[:8])}",
            field="inputs",
        )
    return [
        replace(c, datatype=by_name[c.name], known="--input") if c.name in by_name else c
        for c in columns
    ]


def _layout(columns: list[Column], wanted: Layout | None) -> tuple[Layout, str]:
    kinds = {column.datatype for column in columns}
    if wanted is Layout.TENSORS:
        raise InvalidError("a table is taken as matrix or as columns", field="layout")
    if len(kinds) > 1 or kinds == {Datatype.BYTES}:
        if wanted is Layout.MATRIX and len(kinds) > 1:
            raise InvalidError(
                "columns of different types do not fit into one matrix: use --layout columns",
                field="layout",
            )
        if wanted is not Layout.MATRIX:
            why = "their types differ" if len(kinds) > 1 else "they hold text"
            return Layout.COLUMNS, f"one input a column, because {why}"
    layout = wanted or Layout.MATRIX
    said = "as asked" if wanted else "all columns are numbers"
    form = "one matrix" if layout is Layout.MATRIX else "one input a column"
    return layout, f"{form}, {said}"
