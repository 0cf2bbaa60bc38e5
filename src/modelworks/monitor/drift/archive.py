"""A reference as one file: a zip of numpy arrays and a JSON document, never a pickle."""

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core import codec, digest
from modelworks.core.errors import CorruptError, ModelworksError, NotFoundError
from modelworks.monitor.drift.reference import Block, Feature, Reference, Source
from modelworks.stats.discrepancy import FourierMap

FORMAT: Final = "modelworks.reference/1"
LARGEST: Final = 1 << 30
_ARRAYS: Final = ("mean", "eigenvalues", "sample", "losses", "centre")


@dataclass(frozen=True, slots=True)
class _Head:
    """The JSON document."""

    format: str
    rows: int
    loss: str
    mean_loss: float
    sources: tuple[Source, ...]
    features: tuple[Feature, ...]
    blocks: tuple["_BlockHead", ...]


@dataclass(frozen=True, slots=True)
class _BlockHead:
    name: str
    columns: tuple[str, ...]
    rows: int


def to_bytes(reference: Reference) -> bytes:
    """The file's content; the same for equal references."""
    head = _Head(
        FORMAT,
        reference.rows,
        reference.loss,
        reference.mean_loss,
        reference.sources,
        reference.features,
        tuple(_BlockHead(block.name, block.columns, block.rows) for block in reference.blocks),
    )
    text = json.dumps(codec.encode(head), allow_nan=False).encode()
    arrays: dict[str, Any] = {"head": np.frombuffer(text, np.uint8)}
    for place, feature in enumerate(reference.features):
        if feature.name in reference.samples:
            arrays[f"sample.{place}"] = reference.samples[feature.name]
    for place, block in enumerate(reference.blocks):
        arrays |= {f"block.{place}.{name}": getattr(block, name) for name in _ARRAYS}
        for name in ("centre", "scale", "weights"):
            arrays[f"block.{place}.map.{name}"] = getattr(block.mapped, name)
    for place, source in enumerate(reference.sources):
        if source.name in reference.fitted:
            arrays[f"fitted.{place}"] = reference.fitted[source.name]
    return _zipped(arrays)


def from_bytes(data: bytes, where: str = "the reference") -> Reference:
    """Read it.

    Raises:
        CorruptError: it is no reference, or a damaged one.
    """
    try:
        found = _read(data, where)
    except CorruptError:
        raise
    except ModelworksError as error:
        raise CorruptError(f"{where} is damaged: {error.message}") from error
    except Exception as error:  # numpy raises whatever zipfile, zlib and struct do
        raise CorruptError(
            f"{where} is no reference; make one with: modelworks reference build DATA -o FILE "
            f"({str(error)[:80]})"
        ) from error
    return replace(found, digest=digest.of_bytes(data))


def _read(data: bytes, where: str) -> Reference:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > LARGEST:
            raise CorruptError(f"{where} is over 1 GiB unpacked")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        head = codec.decode(_Head, json.loads(arrays["head"].tobytes()))
        if head.format != FORMAT:
            raise CorruptError(f"{where} has the format {head.format[:40]}, not {FORMAT}")
        return _assembled(head, arrays)


def load(path: Path) -> Reference:
    """Read a file.

    Raises:
        NotFoundError: there is none.
        CorruptError: it is no reference.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"no file {path}", field="reference") from error
    return from_bytes(data, str(path))


def is_reference(path: Path) -> bool:
    """Whether a file is one by its name and its first member."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[:1] == ["head.npy"]
    except (OSError, zipfile.BadZipFile):
        return False


def _assembled(head: _Head, arrays: Any) -> Reference:
    samples = {
        feature.name: arrays[f"sample.{place}"]
        for place, feature in enumerate(head.features)
        if f"sample.{place}" in arrays
    }
    blocks = []
    for place, block in enumerate(head.blocks):
        prefix = f"block.{place}"
        mapped = (arrays[f"{prefix}.map.{name}"] for name in ("centre", "scale", "weights"))
        values = {name: arrays[f"{prefix}.{name}"] for name in _ARRAYS}
        blocks.append(
            Block(
                name=block.name,
                columns=block.columns,
                rows=block.rows,
                mapped=FourierMap(*mapped),
                **values,
            )
        )
    return Reference(
        head.rows,
        head.sources,
        head.features,
        tuple(blocks),
        samples,
        head.loss,
        head.mean_loss,
        fitted={
            source.name: arrays[f"fitted.{place}"]
            for place, source in enumerate(head.sources)
            if f"fitted.{place}" in arrays
        },
    )


def _zipped(arrays: dict[str, Any]) -> bytes:
    """As `numpy.savez` does, without the time of day."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue(), compresslevel=1)
    return whole.getvalue()
