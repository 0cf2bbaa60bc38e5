"""The control plane over HTTP: every verb of `Transport` as one request to `/api/v1`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from modelworks.blobs.folder import lay_out
from modelworks.client import git
from modelworks.client.tls import ClientTls
from modelworks.client.transport import Progress
from modelworks.client.wire import Wire
from modelworks.core import codec
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, InvalidError
from modelworks.core.imports import ImportRequest
from modelworks.core.model import (
    Alias,
    AliasChange,
    Collected,
    Comparison,
    ModelSummary,
    ModelVersion,
    Verification,
)
from modelworks.core.optimizing.variants import Variant
from modelworks.core.reference import alias_name, model_name, parse_ref

IMPORT_SECONDS = 1800.0
LONG_SECONDS = 600.0
_CHUNK = 1 << 20
_NO_TLS = ClientTls()


class HttpTransport:
    """Fulfils `Transport` against a control plane at a URL.

    Args:
        url: `http://127.0.0.1:8080`.
        tls: for https.
        key: an API key; empty = none.
    """

    def __init__(self, url: str, tls: ClientTls = _NO_TLS, key: str = "") -> None:
        self._wire = Wire(url, "control plane", "start it with: modelworks up", tls, key)

    def import_model(
        self, request: ImportRequest, progress: Progress | None = None
    ) -> ModelVersion:
        """Upload the file and wait until it is imported, checked and published."""
        say = progress or (lambda _step: None)
        say(f"sending {request.file.name} to {self._wire.url}")
        headers, length, body = _multipart(git.stamped(request))
        data = self._wire.json(
            "POST",
            "/api/v1/imports",
            body=_told(body, length, say),
            headers={**headers, "Content-Length": str(length)},
            seconds=IMPORT_SECONDS,
        )
        return codec.decode(ModelVersion, data)

    def models(self) -> list[ModelSummary]:
        """GET /models."""
        return codec.decode(list[ModelSummary], self._wire.json("GET", "/api/v1/models"))

    def versions(self, name: str) -> list[ModelVersion]:
        """GET /models/{name}/versions."""
        data = self._wire.json("GET", f"/api/v1/models/{_name(name)}/versions")
        return codec.decode(list[ModelVersion], data)

    def show(self, ref: str) -> ModelVersion:
        """GET /versions/{ref}."""
        return codec.decode(ModelVersion, self._wire.json("GET", f"/api/v1/versions/{_ref(ref)}"))

    def materialise(
        self, version: ModelVersion, cache: Path, variant: Variant | None = None
    ) -> Path:
        """A version's files as a folder of `cache`, every byte checked against its digest.

        Args:
            version: whose.
            cache: where folders are.
            variant: the form of it whose files are meant; None = as it was imported.

        Raises:
            CorruptError: what came over the wire is not what the version names.
            UnavailableError: the control plane is away, or the disk is full.
        """
        found = version if variant is None else variant
        return lay_out(found.artifact, cache, partial(self._fetch, found.ref))

    def _fetch(self, ref: str, name: str, digest: str, target: Path) -> None:
        """GET /versions/{ref}/files/{path}."""
        with target.open("xb") as file:
            path = _ref(ref, variants=True)
            self._wire.download(f"/api/v1/versions/{path}/files/{quote(name)}", file)
        if digests.of_file(target) != digest:
            raise CorruptError(
                f"{ref}: {name} from {self._wire.url} does not match its digest: it was damaged "
                "there (`modelworks verify` says so) or on the way"
            )

    def compare(self, left: str, right: str) -> Comparison:
        """GET /compare."""
        query = {"left": left, "right": right}
        return codec.decode(Comparison, self._wire.json("GET", "/api/v1/compare", query=query))

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """PUT /models/{name}/aliases/{alias}."""
        path = f"/api/v1/models/{_name(name)}/aliases/{_alias(alias)}"
        data = {"version": version, "reason": reason}
        return codec.decode(Alias, self._wire.json("PUT", path, data=data))

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """DELETE /models/{name}/aliases/{alias}."""
        path = f"/api/v1/models/{_name(name)}/aliases/{_alias(alias)}"
        self._wire.json("DELETE", path, query={"reason": reason})

    def history(self, name: str, alias: str | None = None) -> list[AliasChange]:
        """GET /models/{name}/history."""
        path = f"/api/v1/models/{_name(name)}/history"
        data = self._wire.json("GET", path, query={"alias": alias or ""})
        return codec.decode(list[AliasChange], data)

    def alias_at(self, name: str, alias: str, at_ns: int) -> AliasChange:
        """GET /models/{name}/aliases/{alias}/at."""
        path = f"/api/v1/models/{_name(name)}/aliases/{_alias(alias)}/at"
        data = self._wire.json("GET", path, query={"at_ns": str(at_ns)})
        return codec.decode(AliasChange, data)

    def annotate(self, ref: str, tags: tuple[str, ...], labels: dict[str, str]) -> ModelVersion:
        """PUT /versions/{ref}/annotations."""
        path = f"/api/v1/versions/{_ref(ref)}/annotations"
        data = self._wire.json("PUT", path, data={"tags": list(tags), "labels": labels})
        return codec.decode(ModelVersion, data)

    def variants(self, ref: str) -> list[Variant]:
        """GET /models/{name}/versions/{version}/variants."""
        found = parse_ref(ref)
        number = found.version or self.show(ref).version
        path = f"/api/v1/models/{_name(found.name)}/versions/{quote(str(number))}/variants"
        return codec.decode(list[Variant], self._wire.json("GET", path))

    def verify(self, ref: str) -> Verification:
        """POST /versions/{ref}/verify."""
        path = f"/api/v1/versions/{_ref(ref)}/verify"
        return codec.decode(Verification, self._wire.json("POST", path, seconds=LONG_SECONDS))

    def delete(self, ref: str) -> list[str]:
        """DELETE /versions/{ref}."""
        path = f"/api/v1/versions/{_ref(ref, variants=True)}"
        data = self._wire.json("DELETE", path, seconds=LONG_SECONDS)
        return codec.decode(list[str], data)

    def collect(self) -> Collected:
        """POST /collect."""
        data = self._wire.json("POST", "/api/v1/collect", seconds=LONG_SECONDS)
        return codec.decode(Collected, data)

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()


def _ref(text: str, *, variants: bool = False) -> str:
    """A reference as a path segment; checked here, for a path cannot carry a wrong one."""
    return quote(str(parse_ref(text, variants=variants)), safe="@:")


def _name(text: str) -> str:
    return quote(model_name(text))


def _alias(text: str) -> str:
    return quote(alias_name(text))


def _multipart(request: ImportRequest) -> tuple[dict[str, str], int, Iterator[bytes]]:
    """Headers, length and pieces of the upload: the request as JSON, then the files it names."""
    options = request.options
    files = [("file", request.file)]
    wire: dict[str, Any] = codec.encode(
        replace(request, file=Path(), options=replace(options, sample=None, factory="", steps=None))
    )
    wire["file"] = request.file.name
    if options.sample is not None:
        files.append(("sample", options.sample))
        wire["options"]["sample"] = options.sample.name
    if options.steps is not None:
        files.append(("steps", options.steps))
        wire["options"]["steps"] = options.steps.name
    if options.factory:
        source, _, function = options.factory.rpartition(":")
        files.append(("factory", Path(source)))
        wire["options"]["factory"] = f"{Path(source).name}:{function}"
    for field, path in files:
        _sendable(field, path)
    boundary = uuid4().hex
    head = _part(boundary, "request", None) + json.dumps(wire).encode() + b"\r\n"
    pieces = [(_part(boundary, field, path.name), path) for field, path in files]
    tail = f"--{boundary}--\r\n".encode()
    length = len(head) + len(tail)
    length += sum(len(part) + path.stat().st_size + 2 for part, path in pieces)

    def body() -> Iterator[bytes]:
        yield head
        for part, path in pieces:
            yield part
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            yield b"\r\n"
        yield tail

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return headers, length, body()


def _sendable(field: str, path: Path) -> None:
    if not path.exists():
        raise InvalidError(f"{path}: no such file", field=field)
    if not path.is_file():
        raise InvalidError(
            f"{path} is a folder: a control plane takes one file; pack it, or import where the "
            "registry is",
            field=field,
        )


def _part(boundary: str, field: str, filename: str | None) -> bytes:
    named = f'; filename="{quote(filename)}"' if filename else ""
    kind = "application/octet-stream" if filename else "application/json"
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()


def _told(body: Iterator[bytes], length: int, say: Progress) -> Iterator[bytes]:
    """The same pieces; says how far the upload is each 64 MB, and when the wait begins."""
    sent = step = 0
    for piece in body:
        yield piece
        sent += len(piece)
        if sent >> 26 > step:
            step = sent >> 26
            say(f"sent {sent >> 20} of {length >> 20} MB")
    say("the control plane imports and checks it")
