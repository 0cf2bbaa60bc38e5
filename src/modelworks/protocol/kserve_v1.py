"""KServe's first protocol, which is TensorFlow Serving's row format: instances in, predictions out.

`POST /v1/models/{m}:predict` with `{"instances": [...]}` answers `{"predictions": [...]}`: of a
model with one output its value a row, of one with several an object a row, by the outputs' names.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Signature
from modelworks.protocol.predictions import plain
from modelworks.protocol.rows import MAX_ROWS, PlainRows, read_rows
from modelworks.protocol.tensors import shown

_SIGNATURE: Final = "serving_default"


def decode_instances(body: bytes, signature: Signature, max_rows: int = MAX_ROWS) -> PlainRows:
    """The rows of a request.

    Args:
        body: of the HTTP request, JSON.
        signature: of the model.
        max_rows: more are refused.

    Raises:
        InvalidError: anything wrong; `field` names row and field, or the key that is not taken.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    if type(told) is not dict or type(told.get("instances")) is not list:
        raise InvalidError('{"instances": [...]} is wanted', field="instances")
    if told.get("signature_name", _SIGNATURE) != _SIGNATURE:
        raise InvalidError(f"a model has one signature, {_SIGNATURE}", field="signature_name")
    unknown = next((key for key in told if key not in {"instances", "signature_name"}), None)
    if unknown is not None:
        raise InvalidError(
            f'{shown(unknown)} is unknown: the body is {{"instances": [...]}}', field=unknown[:60]
        )
    return read_rows(told["instances"], signature, max_rows)


def encode_answers(signature: Signature, outputs: Sequence[Any]) -> bytes:
    """`{"predictions": [...]}`; NaN and the infinities are null.

    Args:
        signature: names of the outputs.
        outputs: arrays in their order, axis 0 = rows.

    Raises:
        CrashedError: the engine's outputs have different numbers of rows.
    """
    columns = {
        spec.name: plain(spec, array.reshape(1) if array.ndim == 0 else array)
        for spec, array in zip(signature.outputs, outputs, strict=True)
    }
    if len({len(values) for values in columns.values()}) != 1:
        raise CrashedError("the model's outputs have different numbers of rows")
    if len(columns) == 1:
        [rows] = columns.values()
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return orjson.dumps({"predictions": rows})
