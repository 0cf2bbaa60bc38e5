"""From what a server tells to records: read, held to the policy, ready to be written."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from modelworks.core import codec
from modelworks.core.errors import ModelworksError
from modelworks.core.records import Record, RecordPolicy
from modelworks.core.tensor import Signature
from modelworks.protocol.oip.request import parse_header_length
from modelworks.protocol.records.bodies import BodyReader, Columns, Request
from modelworks.protocol.records.calls import (
    ARM,
    CACHED,
    CALLER,
    COPY,
    HEADERS,
    LEFT_OUT,
    MESSAGE,
    Told,
)
from modelworks.protocol.records.fields import HEADER, FieldRules
from modelworks.protocol.records.vault import Vault

NameOf = Callable[[bytes], str]
ROWS: Final = 0
_OK: Final = 200
_TRACE: Final = slice(3, 35)
_TRACEPARENT_BYTES: Final = 55
_MOST_ID: Final = 200
_FIXED: Final = len(HEADERS) + 1
_NOTHING: Final = Request("", 1, {})


@dataclass(frozen=True, slots=True)
class Made:
    """One record, and whether all of it could be read."""

    record: Record
    readable: bool


class RecordMaker:
    """Of one model of one server.

    Args:
        text: what the server told of the model, JSON.
        key: of hashes.
        vault: called for the vault, when a value is to become a token.
        name_of: the name of the API key of an `Authorization` header; empty = nobody is known.

    Raises:
        InvalidError: it is no such text.
    """

    def __init__(
        self, text: bytes, key: bytes, vault: Callable[[], Vault], name_of: NameOf
    ) -> None:
        told: dict[str, Any] = orjson.loads(text)
        signature = codec.decode(Signature, told["signature"], "signature")
        self._policy = codec.decode(RecordPolicy, told["policy"], "policy")
        self._rules = FieldRules(self._policy, signature, key, vault)
        self._reader = BodyReader(signature)
        self._name_of = name_of
        self._headers: list[str] = told["headers"]
        named = {one.field.lower() for one in self._policy.fields}
        self._kept = [name for name in self._headers if HEADER + name in named]
        self._told = told

    def make(self, told: Told, utc_ns: int) -> Made:
        """The record of one request.

        Args:
            told: by the server.
            utc_ns: what to add to its times for UTC.

        Raises:
            UnavailableError: the policy wants a token, and the vault cannot be used.
        """
        left_out: list[str] = []
        request = self._request(told, left_out)
        outputs = self._answer(told, left_out) if told.status in {ROWS, _OK} else None
        status = told.status or _OK
        named = dict(zip(self._headers, map(_latin, told.headers[_FIXED:]), strict=True))
        headers = {name: self._rules.one(HEADER + name, named[name]) for name in self._kept}
        inputs = request.inputs if request is not None else {}
        at_ns = told.received_ns + utc_ns
        keeps = request is not None and self._policy.inputs and "inputs" not in left_out
        named_arm = told.headers[HEADERS.index(ARM)]
        arm = named_arm.removeprefix(COPY).decode("utf-8", "replace")
        record = Record(
            id=self._id(told, request, at_ns) + (f"~{arm}" if named_arm.startswith(COPY) else ""),
            at_ns=at_ns,
            caller=self._caller(told),
            arm=arm,
            status=status,
            error="" if status == _OK else self._error(told),
            rows=request.rows if request is not None else 1,
            trace=_trace(told.headers[1]),
            key=self._one(self._policy.key, inputs, named),
            subject=self._one(self._policy.subject, inputs, named),
            headers={name: text for name, text in headers.items() if text},
            inputs=self._rules.columns(inputs) if keeps else None,
            outputs=self._rules.columns(outputs) if outputs and self._policy.outputs else None,
            left_out=tuple(sorted({name.partition(" ")[0] for name in left_out})),
            model=self._told["name"],
            version=self._told["version"],
            revision=self._told["revision"],
            variant=self._told["variant"],
            tenant=self._told["tenant"],
            **_times(told),
        )
        return Made(record, not any(name.endswith("unreadable") for name in left_out))

    def _caller(self, told: Told) -> str:
        known = told.headers[HEADERS.index(CALLER)]
        if known:
            return known.decode("utf-8", "replace")
        return self._name_of(told.headers[2]) if told.headers[2] else ""

    def _request(self, told: Told, left_out: list[str]) -> Request | None:
        if told.request == LEFT_OUT:
            left_out.append("inputs")
            return None
        length = told.headers[len(HEADERS)]
        try:
            if length == MESSAGE:
                return self._reader.message(told.request)
            if told.status == ROWS or (told.status != _OK and b'"inputs"' not in told.request):
                return self._reader.rows(told.request)
            return self._reader.request(told.request, parse_header_length(length or None))
        except (ModelworksError, ValueError, RecursionError):
            # Of what was refused that is no wonder: it may have been refused for it.
            left_out.append("inputs unreadable" if told.status in {ROWS, _OK} else "inputs")
            return None

    def _answer(self, told: Told, left_out: list[str]) -> Columns | None:
        if told.answer == LEFT_OUT:
            left_out.append("outputs")
            return None
        try:
            if told.status == ROWS:
                return self._reader.predictions(told.answer)
            if told.headers[len(HEADERS)] == MESSAGE:
                return self._reader.told(told.answer)
            return self._reader.answer(told.answer, told.answer_json)
        except (ModelworksError, ValueError, KeyError, TypeError):
            left_out.append("outputs unreadable")
            return None

    def _id(self, told: Told, request: Request | None, at_ns: int) -> str:
        own = request.id if request is not None else ""
        given = own or told.headers[0].decode("ascii", "replace")[:_MOST_ID]
        return given or made_id(at_ns, told.times[0], told.request)

    def _error(self, told: Told) -> str:
        try:
            found = orjson.loads(told.answer)["error"]
        except (ValueError, KeyError, TypeError):
            return f"{told.status}"
        return self._rules.error(told.status, str(found))

    def _one(self, field: str, inputs: Columns, headers: dict[str, str]) -> str:
        """The business key or the subject: of a request's first item."""
        if not field:
            return ""
        if field.startswith(HEADER):
            return self._rules.one(field, headers.get(field.removeprefix(HEADER).lower(), ""))
        values = inputs.get(field) or (None,)
        return self._rules.one(field, values[0])


def made_id(at_ns: int, started: int, body: bytes) -> str:
    """A UUIDv7 of a request that brought no id; the same where it is told of twice."""
    seed = b"%d %d " % (at_ns, started)
    made = int.from_bytes(hashlib.blake2b(seed + body, digest_size=10).digest())
    value = (at_ns // 1_000_000 & (2**48 - 1)) << 80 | made
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _times(told: Told) -> dict[str, Any]:
    started, joined, inferred, ended = told.times
    taken = {"total_ns": max(0, ended - told.received_ns)}
    if started == CACHED:
        return {**taken, "cached": True}
    if not started:
        return taken
    return {
        **taken,
        "decode_ns": max(0, told.queued_ns - told.received_ns),
        "queue_ns": max(0, started - told.queued_ns),
        "compute_ns": inferred - joined,
    }


def _trace(header: bytes) -> str:
    """The trace of a `traceparent`; empty without a good one."""
    if len(header) < _TRACEPARENT_BYTES or header[2:3] != b"-":
        return ""
    text = header[_TRACE].decode("ascii", "replace")
    good = set(text) <= set("0123456789abcdef") and text.strip("0")
    return text if good else ""


def _latin(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
