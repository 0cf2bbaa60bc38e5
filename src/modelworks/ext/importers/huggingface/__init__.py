"""Recognises local snapshots of Hugging Face's hub: folders with a `config.json` and weights."""

from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.errors import InvalidError, MissingExtraError, ModelworksError
from modelworks.core.imports import Exporter, Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.formats import decoder
from modelworks.ext.importers.huggingface import snapshot

_SURE: Final = 100
_DECODER: Final = 90


class HuggingFaceImporter:
    """ONNX as it is, safetensors and pickled weights by transformers; never from the network."""

    name: ClassVar[str] = "huggingface"
    formats: ClassVar[tuple[str, ...]] = tuple(snapshot.Weights)
    extra: ClassVar[str] = "huggingface"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"exporter"})

    def sniff(self, path: Path) -> Sniffed | None:
        """By the configuration and the weights beside it."""
        try:
            found = snapshot.look(path)
        except (ModelworksError, OSError):
            return None
        if found is None:
            return None
        runs = found.weights is snapshot.Weights.PICKLE or bool(found.own_code)
        # A decoder of text is better served as one, by whoever can.
        sure = _DECODER if decoder.looks_like_one(path) else _SURE
        return Sniffed(found.weights, sure, runs_code=runs)

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`, tokenizer and image processor as steps."""
        found = snapshot.open_snapshot(path)
        if found.weights is snapshot.Weights.ONNX:
            if options.exporter is not Exporter.AUTO:
                raise InvalidError(
                    "--exporter means nothing for a folder that brings its ONNX model; leave it "
                    "out",
                    field="exporter",
                )
            from modelworks.ext.importers.huggingface import ready  # noqa: PLC0415 - imports onnx

            return ready.read(found, into, options)
        try:
            from modelworks.ext.importers.huggingface import (  # noqa: PLC0415 - imports PyTorch
                read,
            )
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading Hugging Face snapshots", self.extra, str(error.name)
            ) from error
        return read.read(found, into, options)
