"""Entries of a journal as lines: JSON, the combined format of web servers, or ECS.

Never a body, never a query: both may hold what is nobody's business.
"""

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from time import perf_counter_ns
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

import orjson

from modelworks.core.ecs import VERSION
from modelworks.edge.journal import Entry
from modelworks.edge.trace import REQUEST_ID, TRACEPARENT, request_id_of, trace_of

_LONGEST: Final = 1024  # characters of a path or of a header's value
_CACHED: Final = 256  # bytes of a path; longer ones are not kept
_MODELS, _PREDICT = [b"v2", b"models"], b"predict"
_VERSIONS: Final = ("1.0", "1.1", "2")
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x22, 0x5C}  # needs no escape between quotes


class Form(StrEnum):
    """How a line is written."""

    JSON = "json"
    COMBINED = "combined"
    ECS = "ecs"  # Elastic Common Schema


NameOf: TypeAlias = Callable[[dict[bytes, bytes]], str]
"""Who sent a request with these headers; empty where nobody is known."""


class Lines:
    """Writes entries in one form.

    Args:
        form: of the lines.
        name_of: the name of a request's API key, never the key; None = keys are not asked for.
    """

    def __init__(self, form: Form, name_of: NameOf | None = None) -> None:
        self._one = {Form.JSON: _json, Form.COMBINED: _combined, Form.ECS: _ecs}[form]
        self._form = form
        self._name_of = name_of

    def write(self, entries: Sequence[Entry]) -> bytes:
        """The lines, each with its end."""
        offset = time.time_ns() - perf_counter_ns()  # the loop's clock counts from the boot
        one, name_of = self._one, self._name_of
        if name_of is None:
            return b"".join([one(entry, entry.answered_ns + offset) for entry in entries])
        return b"".join(
            [one(entry, entry.answered_ns + offset, name_of(entry.headers)) for entry in entries]
        )

    def missing(self, count: int) -> bytes:
        """A line that says how many are missing here."""
        now = time.time_ns()
        if self._form is Form.JSON:
            return orjson.dumps({"time": _iso(now), "dropped": count}) + b"\n"
        if self._form is Form.ECS:
            told = {"@timestamp": _iso(now), "log.level": "warning", **_EVENT}
            told |= {"message": f"{count} requests are missing here"}
            return orjson.dumps(told | {"labels.dropped": str(count)}) + b"\n"
        return f'- - - [{_clf(now // 10**9)}] "- dropped={count}" 000 0 "-" "-"\n'.encode()


def model_of(path: bytes) -> str:
    """The model that a path names; empty where it names none."""
    parts = path.split(b"/")[1:]
    if len(parts) > 2 and parts[:2] == _MODELS and parts[2] != b"stats":
        return _text(unquote_to_bytes(parts[2]))
    if len(parts) == 2 and parts[0] == _PREDICT:
        return _text(unquote_to_bytes(parts[1]))
    return ""


@lru_cache(maxsize=4096)
def _same(client: str, method: bytes, path: bytes, status: int) -> tuple[bytes, bytes]:
    """What many lines have in common: the middle of one and, with the model, its end."""
    middle = {
        "client": client,
        "method": method.decode("ascii", "replace"),
        "path": _text(path),
        "status": status,
    }
    model = model_of(path)
    end = b"," + orjson.dumps({"model": model})[1:-1] if model else b""
    return orjson.dumps(middle)[1:-1], end


def _text(raw: bytes) -> str:
    return raw[:_LONGEST].decode("utf-8", "backslashreplace")


def _json(entry: Entry, at_ns: int, name: str = "") -> bytes:
    client, method, path, headers, _, received_ns, answered_ns, status, taken, given = entry
    common = _same if len(path) <= _CACHED else _same.__wrapped__
    middle, model = common(client, method, path, status)
    names = _names(headers) if TRACEPARENT in headers or REQUEST_ID in headers else b""
    return b'{"time":"%b",%b,"bytes_in":%d,"bytes_out":%d,"duration_us":%d%b%b%b}\n' % (
        _iso(at_ns).encode(),
        middle,
        taken,
        given,
        (answered_ns - received_ns) // 1000,
        model,
        b',"key":"%b"' % name.encode() if name else b"",  # a name has no character to escape
        names,
    )


def _names(headers: dict[bytes, bytes]) -> bytes:
    """Trace and request id, each behind a comma."""
    found: dict[str, str] = {}
    trace = trace_of(headers)
    if trace is not None:
        found = {"trace_id": trace.trace_id, "parent_id": trace.parent_id}
    if request_id := request_id_of(headers):
        found["request_id"] = request_id
    return b"," + orjson.dumps(found)[1:-1] if found else b""


def _combined(entry: Entry, at_ns: int, name: str = "") -> bytes:
    version = _VERSIONS[entry.modern]
    line = f"{_quoted(entry.method)} {_quoted(entry.path)} HTTP/{version}" if entry.method else "-"
    agent = _quoted(entry.headers.get(b"user-agent", b"-"))
    referrer = _quoted(entry.headers.get(b"referer", b"-").partition(b"?")[0])
    return (
        f'{entry.client} - {name or "-"} [{_clf(at_ns // 10**9)}] "{line}" {entry.status} '
        f'{entry.given} "{referrer}" "{agent}"\n'
    ).encode()


_EVENT: Final = {
    "ecs.version": VERSION,
    "service.name": "modelworks-server",
    "event.dataset": "modelworks-server.access",
    "event.kind": "event",
}


def _ecs(entry: Entry, at_ns: int, name: str = "") -> bytes:
    path, method = _text(entry.path), _text(entry.method)
    failed = entry.status >= 500
    told: dict[str, object] = {
        "@timestamp": _iso(at_ns),
        "log.level": "error" if failed else "info",
        "message": f"{method} {path} {entry.status}",
        **_EVENT,
        "event.category": ["web"],
        "event.type": ["access", "error"] if failed else ["access"],
        "event.outcome": "failure" if entry.status >= 400 else "success",
        "event.duration": entry.answered_ns - entry.received_ns,
        "http.version": _VERSIONS[entry.modern],
        "http.request.method": method,
        "http.request.body.bytes": entry.taken,
        "http.response.status_code": entry.status,
        "http.response.body.bytes": entry.given,
        "url.path": path,
        "client.address": entry.client,
    }
    headers = entry.headers
    further = {
        "client.ip": "" if entry.client == "unix" else entry.client,
        "http.request.referrer": _text(headers.get(b"referer", b"").partition(b"?")[0]),
        "user_agent.original": _text(headers.get(b"user-agent", b"")),
        "http.request.id": request_id_of(headers),
        "user.name": name,
        "labels.model": model_of(entry.path),
    }
    trace = trace_of(headers)
    if trace is not None:
        further |= {"trace.id": trace.trace_id, "span.id": trace.parent_id}
    return orjson.dumps(told | {k: v for k, v in further.items() if v}) + b"\n"


def _quoted(raw: bytes) -> str:
    """As it stands between quotes: nothing in it ends them, or the line."""
    raw = raw[:_LONGEST]
    if _PLAIN.issuperset(raw):
        return raw.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in raw)


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _iso(at_ns: int) -> str:
    return f"{_second(at_ns // 10**9)}.{at_ns // 1_000_000 % 1000:03d}Z"


@lru_cache(maxsize=4)
def _clf(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))
