"""Loads a LightGBM model of any form, converts it, and keeps it for comparison."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions, Ranges, Runtime
from modelworks.core.scans import Scan
from modelworks.core.tensor import Layout, Signature, Tensors
from modelworks.ext.importers import boosters, forest, samples
from modelworks.ext.importers.lightgbm import native, trees
from modelworks.ext.importers.pickles.allow import allow_list
from modelworks.ext.importers.pickles.load import load_named
from modelworks.ext.importers.reasons import reason


@dataclass(frozen=True, slots=True)
class _Source:
    """What was in the file: a booster, the wrapper around it if there is one, its scan."""

    booster: Any
    wrapper: Any = None
    scan: Scan | None = None


def read(path: Path, into: Path, options: ImportOptions, source_format: str) -> Imported:
    """Convert `path` to `into/model.onnx`; errors as in `core.seams.Importer.read`."""
    source = _load(path, source_format, options)
    if options.runtime is Runtime.NATIVE:
        described = native.describe(source.wrapper or source.booster, source.scan)
        return boosters.keep(path, into, options, source_format, described)
    model = trees.parse(source.booster.model_to_string())
    sample = samples.read(options.sample) if options.sample else None
    model, renamed = _as_the_user_names(model, sample)
    task = trees.task_of(model, _classes(source, model))
    columns = _columns(model, model.names, options.layout or Layout.MATRIX, double=model.double)
    trees_of = trees.forest_of(model, task, double=model.double)
    signature = forest.write(trees_of, task, columns, into / "model.onnx")
    return Imported(
        format="onnx",
        source_format=source_format,
        signature=signature,
        predict=_predictor(source, task, signature),
        environment={
            "lightgbm": lightgbm.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
        },
        ranges=trees.ranges_of(model),
        notes=(*_notes(source, model, task), *renamed),
        kind="trees",
        sample=samples.tensors(sample, signature) if sample else None,
        scan=source.scan,
        wide_inputs=True,
    )


def step(wrapper: Any, *, double: bool) -> forest.Step:
    """What a fitted wrapper computes inside a pipeline.

    Args:
        wrapper: fitted.
        double: whether it is given float64 values.

    Raises:
        UnsupportedError: it has no exact form in ONNX.
    """
    source = _Source(wrapper.booster_, wrapper)
    model = trees.parse(source.booster.model_to_string())
    task = trees.task_of(model, _classes(source, model))
    double = double or model.double
    found = trees.ranges_of(model)
    keys = model.names or tuple(str(i) for i in range(model.width))
    return forest.Step(
        trees.forest_of(model, task, double=double),
        task,
        _columns(model, (), Layout.MATRIX, double=double),
        tuple(found.get(key, Ranges()) for key in keys),
    )


def _columns(
    model: trees.Model, names: tuple[str, ...], layout: Layout, *, double: bool
) -> forest.Columns:
    return forest.Columns(
        width=model.width,
        names=names,
        layout=layout,
        double=double,
        zero_missing=model.zero_missing,
        categorical=tuple(i in model.categorical for i in range(model.width)),
        toward_zero=True,
    )


def _as_the_user_names(
    model: trees.Model, sample: samples.Sample | None
) -> tuple[trees.Model, tuple[str, ...]]:
    """The model with the sample's column names, where its own are those after LightGBM's hand.

    LightGBM puts underscores for spaces when it trains, so callers' frames have other names than
    the model. Only the same columns in the same order count as the same.

    Returns:
        The model, and a note where it is another.
    """
    if sample is None or not sample.named:
        return model, ()
    names = tuple(sample.columns)
    if names == model.names or tuple(name.replace(" ", "_") for name in names) != model.names:
        return model, ()
    note = (
        "LightGBM put underscores for the spaces in the feature names; the sample's own names are "
        f"kept ('{next(name for name in names if ' ' in name)}')."
    )
    return replace(model, names=names), (note,)


def _load(path: Path, source_format: str, options: ImportOptions) -> _Source:
    if source_format == "lightgbm-json-dump":
        raise RefusedError(
            f"{path.name}: the output of dump_model, which LightGBM cannot load again; save the "
            "model by booster.save_model('model.txt')",
            field="file",
        )
    if source_format == "lightgbm-txt":
        return _Source(_from_text(path, kept=options.runtime is Runtime.NATIVE))
    found, scan = load_named(path, allow_list("lightgbm"), trust=options.trust)
    if isinstance(found, lightgbm.Booster):
        return _Source(found, scan=scan)
    if isinstance(found, lightgbm.LGBMModel):
        try:
            return _Source(found.booster_, found, scan)
        except Exception as error:
            raise InvalidError(f"{path.name}: the model is not fitted", field="file") from error
    raise InvalidError(
        f"{path.name}: holds a {type(found).__name__}, not a LightGBM model", field="file"
    )


def _from_text(path: Path, *, kept: bool) -> Any:
    """Our own parser goes first: it is strict, where the native one may crash."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path.name}: damaged text ({reason(error)})", field="file") from error
    head = text.partition("\nTree=")[0]
    announced = next((line for line in head.splitlines() if line.startswith("tree_sizes=")), None)
    whole = announced is None or "\nend of trees" in text  # since version 3 of the format
    if announced and len(announced.partition("=")[2].split()) != text.count("\nTree="):
        whole = False
    if not whole or ("\nparameters:" in text and "\nend of parameters" not in text):
        raise InvalidError(f"{path.name}: truncated, its end is missing", field="file")
    try:
        trees.parse(text)
    except UnsupportedError:
        if not kept:
            raise
    try:
        return lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise InvalidError(
            f"{path.name}: LightGBM {lightgbm.__version__} cannot read it ({reason(error)})",
            field="file",
        ) from error


def _classes(source: _Source, model: trees.Model) -> tuple[Any, ...]:
    labels = getattr(source.wrapper, "classes_", None)
    if labels is not None:
        return forest.known_labels(labels)
    return tuple(range(max(2, model.targets)))


def _notes(source: _Source, model: trees.Model, task: forest.Task) -> list[str]:
    notes = [f"Converted from {model.rounds} rounds of {model.objective or 'a custom objective'}."]
    best = source.booster.best_iteration
    if best > 0:
        notes.append(f"Early stopping: the best {best} rounds are used.")
    if not model.objective:
        notes.append("The objective is not in the file: the score is the raw sum of leaves.")
    if model.double:
        notes.append("Inputs are float64: float32 would blur neighbouring thresholds.")
    if model.categorical:
        columns = ", ".join(model.names[i] if model.names else str(i) for i in model.categorical)
        notes.append(f"Categorical features ({columns}) are whole numbers: the category codes.")
    if any(model.zero_missing):
        notes.append("Zero counts as missing in some features, as in training.")
    if task.link is not forest.Link.IDENTITY:
        notes.append(f"The score passes through the {task.link.value} link, as in LightGBM.")
    return notes


def _predictor(
    source: _Source, task: forest.Task, signature: Signature
) -> Callable[[Tensors], Tensors]:
    """The source model behind the converted one's inputs and outputs."""
    labels = np.array(
        [item.encode() if isinstance(item, str) else item for item in task.classes],
        object if any(isinstance(item, str) for item in task.classes) else np.int64,
    )

    def predict(inputs: Tensors) -> Tensors:
        rows = np.concatenate([np.asarray(inputs[spec.name]) for spec in signature.inputs], axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "no feature names": they are given by position
            if hasattr(source.wrapper, "predict_proba"):
                values = source.wrapper.predict_proba(rows)
            else:
                values = (source.wrapper or source.booster).predict(rows)
        values = np.asarray(values, np.float64)
        if task.kind is forest.Kind.SCORE:
            return {"score": values.reshape(len(rows), -1).astype(np.float32)}
        if values.ndim == 1:
            values = np.stack([1 - values, values], axis=1)
        chosen = labels[values.argmax(axis=1)]
        return {"label": chosen, "probabilities": values.astype(np.float32)}

    return predict
