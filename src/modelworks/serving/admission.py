"""Requests of models whose signature has rules: decoded, then held against them, then queued."""

from collections.abc import Callable
from typing import Protocol

from modelworks.protocol.checks import Checks
from modelworks.protocol.oip import InferRequest
from modelworks.protocol.rows import PlainRows


class Reader(Protocol):
    """Decodes requests of the Open Inference Protocol."""

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """See `protocol.oip.decode_request`."""
        ...


class CheckedReader:
    """A `Reader` whose requests keep the rules; a model without rules has none of this."""

    __slots__ = ("_checks", "_reader")

    def __init__(self, reader: Reader, checks: Checks) -> None:
        self._reader = reader
        self._checks = checks

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """Decode.

        Raises:
            InvalidError: as `decode_request`, or a rule is broken.
        """
        request = self._reader.read(body, header_length)
        self._checks.check(request.inputs)
        return request


class CheckedRows:
    """The same for plain rows."""

    __slots__ = ("_checks", "_decode")

    def __init__(self, decode: Callable[[bytes], PlainRows], checks: Checks) -> None:
        self._decode = decode
        self._checks = checks

    def __call__(self, body: bytes) -> PlainRows:
        """Decode.

        Raises:
            InvalidError: as `decode_rows`, or a rule is broken.
        """
        rows = self._decode(body)
        self._checks.check(rows.inputs)
        return rows
