"""Loads an XGBoost model of any form, converts it, and keeps it for comparison."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import xgboost

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import Imported, ImportOptions, Ranges, Runtime
from modelworks.core.scans import Scan
from modelworks.core.tensor import Layout, Signature, Tensors
from modelworks.ext.importers import boosters, forest, samples
from modelworks.ext.importers.pickles.allow import allow_list
from modelworks.ext.importers.pickles.load import load_named
from modelworks.ext.importers.xgboost import native, trees


@dataclass(frozen=True, slots=True)
class _Source:
    """What was in the file: a booster, the wrapper around it if there is one, its scan."""

    booster: Any
    wrapper: Any = None
    scan: Scan | None = None

    @property
    def missing(self) -> float | None:
        """The value that means "missing" besides NaN."""
        value = getattr(self.wrapper, "missing", None)
        return None if value is None or np.isnan(value) else float(value)


def read(path: Path, into: Path, options: ImportOptions, source_format: str) -> Imported:
    """Convert `path` to `into/model.onnx`; errors as in `core.seams.Importer.read`."""
    source, older = _noticed(path, source_format, trust=options.trust)
    if options.runtime is Runtime.NATIVE:
        described = native.describe(source.wrapper or source.booster, source.scan)
        return boosters.keep(path, into, options, source_format, described)
    model = _parsed(source, path.name)
    rounds, note = _rounds(source, model)
    task = trees.task_of(model, _classes(source, model))
    columns = _columns(source, model, model.names, options.layout or Layout.MATRIX)
    signature = forest.write(
        trees.forest_of(model, rounds, task), task, columns, into / "model.onnx"
    )
    return Imported(
        format="onnx",
        source_format=source_format,
        signature=signature,
        predict=_predictor(source, model, task, signature),
        environment={
            "xgboost": xgboost.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
        },
        ranges=trees.ranges_of(model),
        notes=tuple(filter(None, (older, note, *_notes(source, model, task)))),
        kind="trees",
        sample=samples.tensors(samples.read(options.sample), signature) if options.sample else None,
        scan=source.scan,
    )


def step(wrapper: Any) -> forest.Step:
    """What a fitted wrapper computes inside a pipeline.

    Raises:
        UnsupportedError: it has no exact form in ONNX.
    """
    source = _Source(wrapper.get_booster(), wrapper)
    model = _parsed(source, type(wrapper).__name__)
    task = trees.task_of(model, _classes(source, model))
    found = trees.ranges_of(model)
    keys = model.names or tuple(str(i) for i in range(model.width))
    return forest.Step(
        trees.forest_of(model, _rounds(source, model)[0], task),
        task,
        _columns(source, model, (), Layout.MATRIX),
        tuple(found.get(key, Ranges()) for key in keys),
    )


def _parsed(source: _Source, title: str) -> trees.Model:
    try:
        return trees.parse(json.loads(source.booster.save_raw("json")))
    except xgboost.core.XGBoostError as error:
        raise InvalidError(f"{title}: no fitted model ({native.first(error)})") from error


def _columns(
    source: _Source, model: trees.Model, names: tuple[str, ...], layout: Layout
) -> forest.Columns:
    return forest.Columns(
        width=model.width,
        names=names,
        layout=layout,
        missing=source.missing,
        categorical=tuple(i in model.categorical for i in range(model.width)),
    )


def _noticed(path: Path, source_format: str, *, trust: bool) -> tuple[_Source, str]:
    """Load, and turn XGBoost's warning about old pickles into a note."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = _load(path, source_format, trust=trust)
    old = any("older version of XGBoost" in str(warning.message) for warning in caught)
    return source, "The file was pickled by an older version of XGBoost." if old else ""


def _load(path: Path, source_format: str, *, trust: bool) -> _Source:
    if source_format == "xgboost-binary":
        raise RefusedError(
            f"{path.name}: XGBoost's old binary format, which XGBoost 3 no longer reads; load it "
            "with the version that wrote it and save it by booster.save_model('model.json')",
            field="file",
        )
    if source_format in {"xgboost-json", "xgboost-ubj"}:
        model = native.from_file(path, source_format.rpartition("-")[2])
        wrapped = isinstance(model, xgboost.XGBModel)
        return _Source(model.get_booster(), model) if wrapped else _Source(model)
    found, scan = load_named(path, allow_list("xgboost"), trust=trust)
    if isinstance(found, xgboost.Booster):
        return _Source(found, scan=scan)
    if isinstance(found, xgboost.XGBModel):
        try:
            return _Source(found.get_booster(), found, scan)
        except Exception as error:
            raise InvalidError(f"{path.name}: the model is not fitted", field="file") from error
    raise InvalidError(
        f"{path.name}: holds a {type(found).__name__}, not an XGBoost model", field="file"
    )


def _rounds(source: _Source, model: trees.Model) -> tuple[int, str]:
    """How many boosting rounds count, as the source itself would have it."""
    best = source.booster.attr("best_iteration")
    if best is None or int(best) + 1 >= model.rounds:
        return model.rounds, ""
    if source.wrapper is None:
        return model.rounds, (
            f"Training stopped early (best_iteration {best}), but Booster.predict uses all "
            f"{model.rounds} rounds, and so does the converted model."
        )
    return int(best) + 1, f"Early stopping: {int(best) + 1} of {model.rounds} rounds are used."


def _classes(source: _Source, model: trees.Model) -> tuple[Any, ...]:
    encoder = getattr(source.wrapper, "_le", None)  # XGBoost before 1.6
    if encoder is not None:
        return forest.known_labels(encoder.classes_)
    count = model.targets if model.objective.startswith("multi:") else 2
    return tuple(range(count))


def _notes(source: _Source, model: trees.Model, task: forest.Task) -> list[str]:
    notes = [f"Converted from {model.rounds} rounds of {model.objective}."]
    if model.categorical:
        columns = ", ".join(model.names[i] if model.names else str(i) for i in model.categorical)
        notes.append(f"Categorical features ({columns}) are whole numbers: the category codes.")
    if source.missing is not None:
        notes.append(f"{source.missing:g} counts as missing, as does NaN.")
    if task.link is not forest.Link.IDENTITY:
        notes.append(f"The score passes through the {task.link.value} link, as in XGBoost.")
    return notes


def _predictor(
    source: _Source, model: trees.Model, task: forest.Task, signature: Signature
) -> Callable[[Tensors], Tensors]:
    """The source model behind the converted one's inputs and outputs."""

    def predict(inputs: Tensors) -> Tensors:
        columns = [np.asarray(inputs[spec.name], np.float32) for spec in signature.inputs]
        rows = np.concatenate(columns, axis=1)
        values = np.asarray(_values(source, model, rows), np.float32)
        if task.kind is forest.Kind.SCORE:
            return {"score": values.reshape(len(rows), -1)}
        if values.ndim == 1:
            values = np.stack([1 - values, values], axis=1)
        chosen = values.argmax(axis=1)
        if task.classes and isinstance(task.classes[0], str):
            labels = np.array([str(item).encode() for item in task.classes], object)[chosen]
        else:
            labels = np.array(task.classes, np.int64)[chosen]
        return {"label": labels, "probabilities": values}

    return predict


def _values(source: _Source, model: trees.Model, rows: Any) -> Any:
    """Probabilities or scores, by the road that a user of the library would take."""
    if source.wrapper is not None:
        if hasattr(source.wrapper, "predict_proba") and model.objective != "binary:logitraw":
            return source.wrapper.predict_proba(rows, validate_features=False)
        raw = model.objective == "binary:logitraw"  # it has no probabilities, and would be rounded
        return source.wrapper.predict(rows, output_margin=raw, validate_features=False)
    matrix = xgboost.DMatrix(
        rows, feature_types=source.booster.feature_types, enable_categorical=True
    )
    softmax = model.objective == "multi:softmax"  # it would give labels only
    values = source.booster.predict(matrix, output_margin=softmax, validate_features=False)
    if softmax:
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values
