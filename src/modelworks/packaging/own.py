"""Modelworks itself as a wheel, from the files that run here; nothing is built or fetched.

Where it was installed from an index, that has the wheel, and nothing of this is needed.
"""

import base64
import hashlib
import importlib.metadata
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelworks.packaging.oci.temporary import replacing

NAME: Final = "modelworks"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # zip knows no time before
_LEFT_OUT: Final = frozenset({"__pycache__", "testing"})
_TOLD: Final = ("METADATA", "entry_points.txt")
_PURE: Final = "py3-none-any"


def indexed() -> bool:
    """Whether the Modelworks that runs here came from an index (PEP 610)."""
    return _distribution().read_text("direct_url.json") is None


def version() -> str:
    """Of the Modelworks that runs here."""
    return _distribution().version


def pack(folder: Path) -> Path:
    """Write the wheel of what runs here; the same files make the same bytes.

    Raises:
        OSError: the disk is full.
    """
    told = _distribution()
    tag = _tag(told)
    info = f"{NAME}-{told.version}.dist-info"
    path = folder / f"{NAME}-{told.version}-{tag}.whl"
    pure = "true" if tag == _PURE else "false"
    wheel = f"Wheel-Version: 1.0\nGenerator: modelworks\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        record = [
            _add(archive, f"{NAME}/{file.relative_to(_package()).as_posix()}", file.read_bytes())
            for file in _files()
        ]
        texts = {name: told.read_text(name) or "" for name in _TOLD}
        for name, text in {**texts, "WHEEL": wheel}.items():
            record.append(_add(archive, f"{info}/{name}", text.encode()))
        record.append(f"{info}/RECORD,,")
        _add(archive, f"{info}/RECORD", "".join(f"{line}\n" for line in record).encode())
    return path


def _distribution() -> importlib.metadata.Distribution:
    return importlib.metadata.distribution(NAME)


def _package() -> Path:
    return Path(__file__).parents[1]


def _files() -> Iterator[Path]:
    for path in sorted(_package().rglob("*")):
        inside = path.relative_to(_package()).parts
        if path.is_file() and not _LEFT_OUT.intersection(inside) and not inside[-1].startswith("."):
            yield path


def _tag(told: importlib.metadata.Distribution) -> str:
    """What it runs on: a compiled one is for one Python and platform."""
    if _editable(told):
        return _PURE
    lines = (told.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
    return tags[0] if tags else _PURE


def _editable(told: importlib.metadata.Distribution) -> bool:
    try:
        found = json.loads(told.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(found.get("dir_info", {}).get("editable"))


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> str:
    """Write one file; its line of the record."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"
