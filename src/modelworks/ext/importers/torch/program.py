"""Checks an exported program before PyTorch opens it: the format can carry code in five places.

`torch.export.load` resolves operator names by attribute, evaluates shape expressions and guards as
Python, unpickles constants and example inputs, and loads compiled libraries that it finds. None of
that is needed by an honest program of tensors, so it is refused here, by reading the JSON alone.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch.container import Found

_TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims|quantized|quantized_decomposed|higher_order|torchvision)"
    r"(?:\.[A-Za-z0-9_]+){1,2}"
    r"|_operator\.(?:getitem|add|sub|mul|truediv|floordiv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|"
    r"or_|not_)"
    r"|math\.[a-z0-9]+"
    r"|torch\.sym_[a-z_]+|torch\._sym_[a-z_]+|torch\._check(?:_is_size)?"
)
_SYMBOL = re.compile(r"'(?:s|u|zuf|zf)\d+'")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_WORDS = frozenset(
    "Symbol Integer Float Rational Add Mul Pow Max Min Mod PythonMod FloorDiv CleanDiv CeilDiv "  # noqa: SIM905 - words
    "CeilToInt FloorToInt TruncToInt TruncToFloat RoundToInt IntTrueDiv FloatTrueDiv ToFloat Eq Ne "
    "Equality Unequality StrictLessThan StrictGreaterThan LessThan GreaterThan And Or Not Where "
    "Identity ModularIndexing positive integer real nonnegative nonzero precision evaluate True "
    "False oo int_oo nan L args kwargs size stride storage_offset and or not self".split()
)
_NAMED = re.compile(r"(?:s|u|zuf|zf)\d+|e\d*")
_SIGNS = re.compile(r"[\w\s+\-*/%().,<>=!\[\]'&|~:]*")
_TREES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_LONGEST = 64 << 20


def check(path: Path, found: Found) -> tuple[str, ...]:
    """Refuse a program that does more than compute on tensors.

    Returns:
        The operators that it calls.

    Raises:
        RefusedError: the reason names the first thing found; nothing was executed.
        InvalidError: damaged.
    """
    operators: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        for name in found.names:
            inside = name.removeprefix(found.root)
            if inside.startswith("data/aotinductor") or inside.endswith((".so", ".py")):
                raise _refused(path, f"brings compiled or Python code ({inside[:80]})")
            if inside.startswith("models/"):
                operators |= _model(path, _json(path, archive, name))
            elif inside.startswith("data/") and inside.endswith("_config.json"):
                _payloads(path, archive, found.root, _json(path, archive, name))
            elif inside.startswith("data/sample_inputs/"):
                _tensors(path, archive, name)
    return tuple(sorted(operators))


def _refused(path: Path, what: str) -> RefusedError:
    return RefusedError(f"{path.name}: {what}: nothing was executed", field="file")


def _json(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > _LONGEST:
        raise _refused(path, f"{name[:80]} is longer than {_LONGEST} bytes")
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise InvalidError(f"{path.name}: damaged {name[:80]} ({reason(error)})") from error


def _model(path: Path, document: Any) -> set[str]:
    operators = set()
    for entry in _entries(document):
        target = entry.get("target")
        if isinstance(target, str) and "inputs" in entry:
            if not _TARGET.fullmatch(target):
                raise _refused(path, f"calls {target[:100]!r}, which is no tensor operator")
            operators.add(target)
        for key in ("expr_str", "in_spec", "out_spec", "guards_code"):
            value = entry.get(key)
            texts = value if isinstance(value, list) else [value]
            for text in texts:
                if isinstance(text, str) and not _harmless(key, text):
                    raise _refused(path, f"its {key} holds {text[:100]!r}")
        if entry.get("as_custom_obj") or entry.get("custom_obj"):
            raise _refused(path, "holds objects that are no tensors")
    return operators


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _harmless(key: str, text: str) -> bool:
    if key in {"in_spec", "out_spec"}:
        return not text or _plain_tree(text)
    bare = _SYMBOL.sub("0", text)
    words = _WORD.findall(bare.replace("'args'", "args").replace("'kwargs'", "kwargs"))
    known = all(word in _WORDS or _NAMED.fullmatch(word) for word in words)
    return known and _SIGNS.fullmatch(bare) is not None


def _plain_tree(text: str) -> bool:
    """How arguments nest: tuples, lists and dictionaries with plain keys only."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    kinds = {entry.get("type") for entry in _entries(tree)}
    return kinds <= _TREES | {None} and "__enum__" not in text


def _payloads(path: Path, archive: zipfile.ZipFile, root: str, document: Any) -> None:
    """Weights and constants: raw, or pickled by torch and then of tensors only."""
    for kind in ("weights", "constants"):
        for entry in _entries(document):
            name = entry.get("path_name")
            if not isinstance(name, str):
                continue
            member = f"{root}data/{kind}/{name}"
            if name.startswith(("custom_obj", "opaque")):
                raise _refused(path, "holds constants that are no tensors")
            if entry.get("use_pickle") and member in archive.NameToInfo:
                _tensors(path, archive, member)


def _tensors(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    data = archive.read(name)
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        raise _refused(
            path, f"{name[:80]} holds more than tensors ({reason(error, 120)})"
        ) from error
