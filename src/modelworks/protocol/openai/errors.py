"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`.

| status | type | code |
|---|---|---|
| 400 | invalid_request_error | |
| 401 | authentication_error | invalid_api_key |
| 403 | permission_error | |
| 404 | invalid_request_error | model_not_found where the model is meant |
| 405 | invalid_request_error | |
| 429 | rate_limit_error | rate_limit_exceeded |
| 501, as 400 | invalid_request_error | unsupported |
| 503 | server_error | overloaded |
| 504 | server_error | timeout |
| others | server_error | |

What is not offered goes out as 400: their clients send again what is answered 5xx.
"""

from typing import Any, Final

import orjson

_TYPES: Final = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES: Final = {
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    501: "unsupported",
    503: "overloaded",
    504: "timeout",
}


def in_their_form(status: int, body: bytes) -> tuple[int, bytes]:
    """Status and body of our error in OpenAI's form.

    Args:
        status: of HTTP.
        body: `{"error": "...", "field": "..."}`, as `protocol.problems` writes it.
    """
    try:
        data: Any = orjson.loads(body)
        message, field = str(data["error"]), data.get("field")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, field = body.decode("utf-8", "replace")[:400], None
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if status == 501:
        kind = "invalid_request_error"
    told = {"message": message, "type": kind, "param": field, "code": _CODES.get(status)}
    return 400 if status == 501 else status, orjson.dumps({"error": told})
