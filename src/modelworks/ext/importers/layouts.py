"""How plain rows become the inputs of a model that says nothing of rows: graphs and networks."""

from dataclasses import replace
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.seams import Engine, EngineOptions
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors, TensorSpec
from modelworks.ext.importers import samples
from modelworks.ext.importers.samples import Sample
from modelworks.plugins.load import load
from modelworks.protocol.tensors import FLOATS


def seen_by(engine: str, path: Path) -> Signature:
    """What an engine says of a model file or folder, loaded once and given back.

    Raises:
        InvalidError: the engine cannot load it.
        MissingExtraError: the engine's library is not installed.
    """
    opener: Engine = load("engines", engine)()
    session = opener.load(path, EngineOptions())
    try:
        return session.signature
    finally:
        session.close()


def arrange(
    own: Signature, wanted: Layout | None, file: Path | None
) -> tuple[Signature, Tensors | None]:
    """The engine's signature with a layout, and with feature names where the sample has them.

    Args:
        own: as the engine sees the model; outputs and classes are kept.
        wanted: the user's choice; None = what the shapes suggest.
        file: example rows, if there are any.

    Returns:
        The signature, and the rows of the file as its inputs.

    Raises:
        InvalidError: the inputs do not have the layout that is wanted, or the file cannot be read.
    """
    sample = samples.read(file) if file is not None else None
    layout = wanted or _suggested(own.inputs)
    _check(layout, own.inputs)
    features = tuple(s.name for s in own.inputs) if layout is Layout.COLUMNS else ()
    if layout is Layout.MATRIX:
        features = _named(own.inputs[0], sample)
    signature = replace(own, layout=layout, features=features)
    return signature, samples.tensors(sample, signature) if sample is not None else None


def of_network(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    wanted: Layout | None,
    sample: Sample | None,
) -> Signature:
    """One real `[rows, n]` input is a matrix of features; anything else stays tensors.

    Raises:
        InvalidError: the user wants another layout.
    """
    only = inputs[0]
    tabular = (
        len(inputs) == 1
        and len(only.shape) == 2
        and only.shape[1] is not None
        and only.datatype in FLOATS
    )
    if wanted is Layout.COLUMNS or (wanted is Layout.MATRIX and not tabular):
        raise InvalidError("this network takes tensors, not columns", field="layout")
    layout = wanted or (Layout.MATRIX if tabular else Layout.TENSORS)
    features = _named(only, sample) if layout is Layout.MATRIX else ()
    return Signature(inputs, outputs, layout, features)


def fixed_batch(signature: Signature) -> bool:
    """Whether the first axis of an input is not dynamic."""
    return any(spec.shape[:1] != (None,) for spec in signature.inputs)


def _named(matrix: TensorSpec, sample: Sample | None) -> tuple[str, ...]:
    """The sample's columns, where they have names and are as many as the matrix has."""
    named = sample is not None and sample.named and len(sample.columns) == matrix.shape[1]
    return tuple(sample.columns) if sample is not None and named else ()


def _suggested(inputs: tuple[TensorSpec, ...]) -> Layout:
    """What plain rows look like, where the shapes leave no doubt."""
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[0] is None:
        if isinstance(inputs[0].shape[1], int) and inputs[0].datatype is not Datatype.BYTES:
            return Layout.MATRIX
    elif len(inputs) > 1 and all(spec.shape == (None, 1) for spec in inputs):
        return Layout.COLUMNS
    return Layout.TENSORS


def _check(layout: Layout, inputs: tuple[TensorSpec, ...]) -> None:
    if layout is Layout.MATRIX and (len(inputs) != 1 or len(inputs[0].shape) != 2):
        raise InvalidError(
            f"layout matrix wants one input of two axes; the file has {len(inputs)} inputs",
            field="layout",
        )
    if layout is Layout.COLUMNS and any(spec.shape[1:] not in {(1,), ()} for spec in inputs):
        raise InvalidError(
            "layout columns wants inputs of one column each, as the file does not have",
            field="layout",
        )
