"""A model's input example as a sample file that our importers read."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.ext.formats.mlmodel import MlModel, inside

_MOST_BYTES = 64 << 20
_MOST_ROWS = 4096


def write(model: MlModel, folder: Path) -> Path | None:
    """Write the example into `folder`; None where there is none, or it is no table and no tensor.

    Raises:
        InvalidError: the file named is not there, or is no JSON.
    """
    kind = model.example.get("type")
    if kind not in {"dataframe", "ndarray"}:
        return None
    path = inside(
        model.folder, model.example.get("artifact_path"), "saved_input_example_info.artifact_path"
    )
    if path.stat().st_size > _MOST_BYTES:
        return None
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path.name}: no JSON ({str(error)[:120]})", field="file") from error
    if model.example.get("params") and isinstance(data, dict):
        data = data.get("inputs")
    return _frame(data, folder) if kind == "dataframe" else _arrays(data, model, folder)


def _frame(data: Any, folder: Path) -> Path | None:
    """`{"columns": [...], "data": [[...]]}`, or rows alone."""
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        names, rows = data.get("columns"), data["data"][:_MOST_ROWS]
        if not rows or not all(isinstance(row, list) for row in rows):
            return None
        if isinstance(names, list) and all(len(row) == len(names) for row in rows):
            data = [dict(zip(map(str, names), row, strict=True)) for row in rows]
        else:
            data = rows
    if not isinstance(data, list) or not data:
        return None
    path = folder / "input_example.json"
    path.write_text(json.dumps(data))
    return path


def _arrays(data: Any, model: MlModel, folder: Path) -> Path | None:
    """One array, or arrays by name; in the dtypes of the signature where it has them."""
    given = data if isinstance(data, dict) else {"": data}
    arrays = {}
    for name, values in given.items():
        try:
            array = np.array(values)
        except ValueError:
            return None
        if array.dtype.kind not in "biufU" or array.ndim == 0:
            return None
        spec = next((s for s in model.inputs.tensors if s.name == name or len(given) == 1), None)
        if spec is not None and spec.datatype.value.startswith("FP"):
            array = array.astype(np.float64)
        arrays[str(name)] = array[:_MOST_ROWS]
    if list(arrays) == [""]:
        path = folder / "input_example.npy"
        np.save(path, arrays[""], allow_pickle=False)
        return path
    path = folder / "input_example.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path
