"""What every route shares: bodies in, values out, and their description for OpenAPI."""

import json
import re
from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from fastapi.responses import Response

from modelworks.api import problems
from modelworks.api.schema import schema_of
from modelworks.core import codec
from modelworks.core.errors import InvalidError

T = TypeVar("T")

COMPONENTS: dict[str, Any] = {"Problem": problems.SCHEMA}
"""Schemas that the routes refer to, filled as they are described."""
_REFERRED: Final = re.compile('"#/components/schemas/([^"]+)"')


def reply(value: Any, status: int = 200) -> Response:
    """A value of `core` as JSON."""
    return Response(encoded(value), status_code=status, media_type="application/json")


def encoded(value: Any) -> bytes:
    """A value of `core` as the bytes of JSON; NaN is null."""
    return orjson.dumps(codec.encode(value))


async def read_body(request: Request) -> bytes:
    """The raw JSON body; its size is bounded by the guard.

    Raises:
        InvalidError: sent as something else, which a page of another site could do unasked.
    """
    kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if kind != "application/json":
        raise InvalidError(
            f"content type {kind[:60]!r}: application/json is wanted", field="Content-Type"
        )
    return await request.body()


def read_json(kind: type[T], body: bytes) -> T:
    """A body as a value of `core`, strictly.

    Raises:
        InvalidError: no JSON, or not this shape; `field` is the path to what is wrong.
    """
    try:
        data = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    return codec.decode(kind, data)


def known_query(request: Request) -> None:
    """Refuse query parameters that the route does not know, and repeated ones.

    Raises:
        InvalidError: naming the parameter.
    """
    route = request.scope.get("route")
    known = {parameter.alias for parameter in getattr(route, "dependant").query_params}  # noqa: B009 - Starlette's scope has no types
    seen = [key for key, _ in request.query_params.multi_items()]
    for key in seen:
        if key not in known:
            wanted = ", ".join(sorted(known)) or "none"
            raise InvalidError(
                f"unknown query parameter '{key[:60]}'; known here: {wanted}", field=key[:60]
            )
        if seen.count(key) > 1:
            raise InvalidError(f"query parameter '{key}' is given twice", field=key)


def answers(kind: Any, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route that answers `kind`; None = nothing."""
    body = {} if kind is None else {"content": _json(schema_of(kind, COMPONENTS))}
    failure = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": "Done", **body},
        "default": {
            "description": "What went wrong (RFC 9457)",
            "content": {problems.MEDIA_TYPE: {"schema": failure}},
        },
    }


def referred(document: Any) -> set[str]:
    """The schemas of `COMPONENTS` that a document needs: other apps of the process left theirs."""
    found: set[str] = set()
    told = [document]
    while told:
        text = json.dumps(told.pop())
        for name in set(_REFERRED.findall(text)) & COMPONENTS.keys() - found:
            found.add(name)
            told.append(COMPONENTS[name])
    return found


def download() -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route that answers a file's bytes."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {**answers(None), 200: {"description": "The file", "content": content}}


def takes(kind: Any) -> dict[str, Any]:
    """OpenAPI's extra of a route with a JSON body."""
    return {"requestBody": {"required": True, "content": _json(schema_of(kind, COMPONENTS))}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
