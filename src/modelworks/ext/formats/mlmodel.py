"""MLflow's `MLmodel` file: flavours, signature, example, where the model comes from.

Read as YAML, without MLflow. Fields as of MLflow 1.30 to 3.17.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.formats import plain_yaml

MLMODEL = "MLmodel"
_ORIGIN = (
    ("run", "run_id"),
    ("model_uuid", "model_uuid"),
    ("model_id", "model_id"),
    ("mlflow_version", "mlflow_version"),
    ("created", "utc_time_created"),
)
_COLUMNS = {
    "boolean": Datatype.BOOL,
    "integer": Datatype.INT32,
    "long": Datatype.INT64,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "string": Datatype.BYTES,
    "datetime": Datatype.BYTES,
    "binary": Datatype.BYTES,
}
_DTYPES = {
    "bool": Datatype.BOOL, "int8": Datatype.INT8, "int16": Datatype.INT16, "int32": Datatype.INT32,
    "int64": Datatype.INT64, "uint8": Datatype.UINT8, "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32, "uint64": Datatype.UINT64, "float16": Datatype.FP16,
    "float32": Datatype.FP32, "float64": Datatype.FP64, "str": Datatype.BYTES,
    "object": Datatype.BYTES, "bytes": Datatype.BYTES,
}  # fmt: skip
_MOST_COLUMNS = 20_000
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a data frame.

    Attributes:
        name: "" where the frame has no names.
        kind: MLflow's word: `double`, `string`, `datetime`..., or `json` for arrays, objects, maps.
        required: it must be sent.
    """

    name: str
    kind: str
    required: bool = True

    @property
    def datatype(self) -> Datatype:
        """As a tensor's element: dates and structures travel as text."""
        return _COLUMNS.get(self.kind, Datatype.BYTES)


@dataclass(frozen=True, slots=True)
class Schema:
    """One side of a signature: columns of a frame or tensors, never both."""

    columns: tuple[Column, ...] = ()
    tensors: tuple[TensorSpec, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.columns or self.tensors)


@dataclass(frozen=True, slots=True)
class MlModel:
    """What an `MLmodel` file says.

    Attributes:
        folder: that it lies in.
        flavors: name -> its settings.
        inputs: empty = it has no signature.
        outputs: the same.
        params: inference parameters: name -> default.
        example: settings of `saved_input_example_info`; empty = no example.
        origin: `run`, `model_uuid`, `mlflow_version`, `created`..., as far as they are there.
        more: names of other fields that say something.
    """

    folder: Path
    flavors: dict[str, dict[str, Any]]
    inputs: Schema
    outputs: Schema
    params: dict[str, Any]
    example: dict[str, Any]
    origin: dict[str, str]
    more: tuple[str, ...] = ()


_KNOWN = {
    "flavors", "signature", "saved_input_example_info", "is_signature_from_type_hint",
    "type_hint_from_example", "model_size_bytes", "artifact_path", *(key for _, key in _ORIGIN),
}  # fmt: skip


def read(folder: Path) -> MlModel:
    """The model file of a folder.

    Raises:
        InvalidError: there is none, or it is not what MLflow writes; the field is named.
    """
    path = folder / MLMODEL
    if not path.is_file():
        raise InvalidError(
            f"{folder.name}: no file {MLMODEL} in it; name the folder that MLflow calls the "
            "model, as in mlruns/.../artifacts/model",
            field="file",
        )
    data = plain_yaml.read(path)
    if not isinstance(data, dict):
        raise _wrong("", "fields are wanted", data)
    flavors = data.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise _wrong("flavors", "at least one flavour is wanted", flavors)
    if not all(isinstance(conf, dict) for conf in flavors.values()):
        raise _wrong("flavors", "settings of each flavour are wanted", flavors)
    signature = data.get("signature") or {}
    if not isinstance(signature, dict):
        raise _wrong("signature", "inputs and outputs are wanted", signature)
    example = data.get("saved_input_example_info")
    return MlModel(
        folder=folder,
        flavors={str(name): conf for name, conf in flavors.items()},
        inputs=_schema(signature.get("inputs"), "signature.inputs"),
        outputs=_schema(signature.get("outputs"), "signature.outputs"),
        params=_params(signature.get("params")),
        example=example if isinstance(example, dict) else {},
        origin={
            name: str(data[key])[:_LONGEST]
            for name, key in _ORIGIN
            if isinstance(data.get(key), str | int | float)
        },
        more=tuple(sorted(str(k) for k, v in data.items() if k not in _KNOWN and v)),
    )


def inside(folder: Path, name: object, field: str) -> Path:
    """A path that the file gives, in the model's folder.

    Raises:
        InvalidError: it leads out, or nothing is there.
    """
    if not isinstance(name, str) or not name:
        raise _wrong(field, "a path in the model's folder is wanted", name)
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise _wrong(field, "it leads out of the model's folder", name)
    if not path.exists():
        raise _wrong(field, "no such file in the model's folder", name)
    return path


def _schema(text: Any, field: str) -> Schema:
    if text is None:
        return Schema()
    items = _json(text, field)
    if not isinstance(items, list) or len(items) > _MOST_COLUMNS:
        raise _wrong(field, "a list of columns or tensors is wanted", items)
    if not all(isinstance(item, dict) for item in items):
        raise _wrong(field, "columns or tensors are wanted", items)
    tensors = [item.get("type") == "tensor" for item in items]
    if all(tensors):
        return Schema(tensors=tuple(_tensor(item, at, field) for at, item in enumerate(items)))
    if any(tensors):
        raise _wrong(field, "columns and tensors are mixed", items)
    columns = tuple(_column(item, field) for item in items)
    names = [column.name for column in columns]
    if len(set(names)) < len(names) and any(names):
        raise _wrong(field, "two columns have one name", names)
    return Schema(columns)


def _column(item: dict[str, Any], field: str) -> Column:
    kind, name = item.get("type"), item.get("name")
    if not isinstance(kind, str) or not isinstance(name, str | int | None):
        raise _wrong(field, "a column has a type and a name", item)
    required = item.get("required", not item.get("optional", False))  # the second: MLflow 1
    known = kind if kind in _COLUMNS else "json"
    return Column("" if name is None else str(name), known, bool(required))


def _tensor(item: dict[str, Any], at: int, field: str) -> TensorSpec:
    spec = item.get("tensor-spec")
    if not isinstance(spec, dict):
        raise _wrong(field, "a tensor has a dtype and a shape", item)
    dtype, shape = spec.get("dtype"), spec.get("shape")
    if dtype not in _DTYPES:
        raise _wrong(field, "a dtype of numpy is wanted", dtype)
    if not isinstance(shape, list) or not all(type(n) is int and n >= -1 for n in shape):
        raise _wrong(field, "a list of lengths is wanted, -1 where they vary", shape)
    extents = tuple(None if n == -1 else n for n in shape)
    return TensorSpec(str(item.get("name") or f"input_{at}"), _DTYPES[dtype], extents)


def _params(text: Any) -> dict[str, Any]:
    if text is None:
        return {}
    items = _json(text, "signature.params")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _wrong("signature.params", "a list of parameters is wanted", items)
    return {str(item.get("name")): item.get("default") for item in items}


def _json(text: Any, field: str) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise _wrong(field, "JSON is wanted", text) from error


def _wrong(field: str, wanted: str, got: object) -> InvalidError:
    shown = " ".join(repr(got)[:240].split())
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    where = f"{MLMODEL}: {field}" if field else MLMODEL
    return InvalidError(f"{where}: {wanted}, got {shown}", field="file")
