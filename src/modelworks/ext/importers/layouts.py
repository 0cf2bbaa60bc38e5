"""How plain rows become the inputs of a file that says nothing of rows: ONNX, LiteRT, OpenVINO."""

from dataclasses import replace

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.ext.importers.samples import Sample


def arrange(own: Signature, wanted: Layout | None, sample: Sample | None) -> Signature:
    """The engine's signature with a layout, and with feature names where the sample has them.

    Args:
        own: as the engine sees the model; outputs and classes are kept.
        wanted: the user's choice; None = what the shapes suggest.
        sample: example rows, if there are any.

    Raises:
        InvalidError: the inputs do not have the layout that is wanted.
    """
    layout = wanted or _suggested(own.inputs)
    _check(layout, own.inputs)
    features = tuple(s.name for s in own.inputs) if layout is Layout.COLUMNS else ()
    columns = sample.columns if sample is not None and sample.named else {}
    if layout is Layout.MATRIX and columns and len(columns) == own.inputs[0].shape[1]:
        features = tuple(columns)
    return replace(own, layout=layout, features=features)


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
