"""Takes a model file over HTTP and imports it: bounded in bytes, in time and in number."""

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from modelworks.api.schema import schema_of
from modelworks.api.wire import COMPONENTS, answers, known_query, reply
from modelworks.control.scratch import scratch
from modelworks.control.service import Factory
from modelworks.core import codec
from modelworks.core.errors import (
    DeadlineError,
    InvalidError,
    UnavailableError,
)
from modelworks.core.imports import ImportRequest
from modelworks.core.model import ModelVersion

UPLOAD_SECONDS = 1800.0
MAX_REQUEST_BYTES = 1 << 20
FILES = ("file", "sample", "factory", "steps")
"""Parts that carry a file; the part `request` carries the `ImportRequest` as JSON."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an upload may cost.

    Attributes:
        upload_bytes: of one request.
        imports: at once; more are answered 503.
    """

    upload_bytes: int = (4 << 30) + (64 << 20)  # what intake takes, and a sample
    imports: int = 2


class Uploads:
    """The route `POST /api/v1/imports`.

    Args:
        factory: imports.
        limits: see `Limits`.
    """

    def __init__(self, factory: Factory, limits: Limits) -> None:
        self._factory = factory
        self._slots = threading.BoundedSemaphore(limits.imports)

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(prefix="/api/v1", dependencies=[Depends(known_query)])

        async def form(request: Request) -> AsyncIterator[FormData]:
            async with self._form(request) as found:
                yield found

        def import_model(parts: Annotated[FormData, Depends(form)]) -> Response:
            """Import a file: multipart parts `request` (JSON), `file`, `sample`, ..."""
            return reply(self._import(parts), 201)

        router.add_api_route(
            "/imports",
            import_model,
            methods=["POST"],
            status_code=201,
            response_class=Response,
            responses=answers(ModelVersion, 201),
            openapi_extra={"requestBody": _described()},
            operation_id="import_model",
        )
        return router

    @asynccontextmanager
    async def _form(self, request: Request) -> AsyncIterator[FormData]:
        """The form, within a slot that is held until the import has ended."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise InvalidError(
                "multipart/form-data is wanted, with the parts request and file",
                field="Content-Type",
            )
        if not self._slots.acquire(blocking=False):
            raise UnavailableError("as many imports run as may; retry soon", retry_after=5)
        try:
            parts = await _read(request)
            try:
                yield parts
            finally:
                await parts.close()
        finally:
            self._slots.release()

    def _import(self, parts: FormData) -> ModelVersion:
        with scratch(self._factory.home.run, "upload") as folder:
            try:
                request = received(parts, folder)
            except OSError as error:
                raise UnavailableError(f"the upload cannot be kept: {error.strerror}") from error
            return self._factory.take_in(request)


async def _read(request: Request) -> FormData:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await request.form(
                max_files=len(FILES), max_fields=1, max_part_size=MAX_REQUEST_BYTES
            )
    except TimeoutError as error:
        raise DeadlineError("the upload took too long") from error
    except OSError as error:
        raise UnavailableError(f"the upload cannot be kept: {error.strerror}") from error


def received(parts: FormData, folder: Path) -> ImportRequest:
    """The form as a request whose files lie in `folder`.

    Raises:
        InvalidError: an unknown, missing or malformed part.
    """
    for key, _ in parts.multi_items():
        if key not in {"request", *FILES}:
            raise InvalidError(f"unknown part '{key[:60]}'", field=key[:60])
    text = parts.get("request")
    if not isinstance(text, str):
        raise InvalidError("part request: JSON without a file name is wanted", field="request")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"part request is no JSON: {error}", field="request") from error
    request = codec.decode(ImportRequest, data)
    paths = {key: _saved(key, parts.get(key), folder) for key in FILES}
    if paths["file"] is None:
        raise InvalidError("part file is missing: send the model file", field="file")
    options = request.options
    if options.sample is not None and paths["sample"] is None:
        raise InvalidError("options.sample names a file: send it as part sample", field="sample")
    if options.steps is not None and paths["steps"] is None:
        raise InvalidError("options.steps names a file: send it as part steps", field="steps")
    factory = options.factory
    if factory:
        if paths["factory"] is None:
            raise InvalidError(
                "options.factory names a file: send it as part factory", field="factory"
            )
        factory = f"{paths['factory']}:{factory.rpartition(':')[2]}"
    return replace(
        request,
        file=paths["file"],
        options=replace(options, sample=paths["sample"], factory=factory, steps=paths["steps"]),
    )


def _saved(key: str, part: UploadFile | str | None, folder: Path) -> Path | None:
    """Where a part's file lies now; it keeps its name, for importers look at that too."""
    if part is None:
        return None
    if not isinstance(part, UploadFile):
        raise InvalidError(f"part {key}: a file with a file name is wanted", field=key)
    name = Path(unquote(part.filename or "")).name
    if not name.isprintable() or name in {"", ".", ".."} or len(name.encode()) > 200:
        raise InvalidError(f"part {key}: {name[:60]!r} is no file name", field=key)
    path = folder / key / name
    path.parent.mkdir()
    with path.open("xb") as file:
        shutil.copyfileobj(part.file, file, 1 << 20)
    return path


def _described() -> dict[str, Any]:
    """The form for OpenAPI."""
    binary = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "required": ["request", "file"],
        "properties": {
            "request": schema_of(ImportRequest, COMPONENTS),
            **dict.fromkeys(FILES, binary),
        },
        "additionalProperties": False,
    }
    encoding = {"request": {"contentType": "application/json"}}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}},
    }
