"""Requests that must be arrays before they are queued, for their rules or their shapes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from modelworks.core.tensor import Signature
from modelworks.protocol.checks import Checks
from modelworks.protocol.oip import InferRequest, decode_request
from modelworks.protocol.oip.templates import RequestReader, Template, Varying
from modelworks.protocol.rows import PlainRows


class Reader(Protocol):
    """Decodes requests of the Open Inference Protocol."""

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """See `protocol.oip.decode_request`."""
        ...

    def recognise(self, body: bytes, header_length: int | None) -> tuple[Template, Varying] | None:
        """See `protocol.oip.templates.RequestReader.recognise`."""
        ...


class PlainReader:
    """A `Reader` of a model that keeps sequences: hardly two of its requests begin alike."""

    __slots__ = ("_signature",)

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """Decode."""
        return decode_request(body, header_length, self._signature)

    def recognise(self, _body: bytes, _header_length: int | None) -> None:
        """Nothing."""


class EagerReader:
    """A `Reader` that leaves nothing for later."""

    __slots__ = ("_reader",)

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """Decode."""
        found = self._reader.recognise(body, header_length)
        if found is not None:
            template, varying = found
            inputs = template.read((varying,))
            if inputs is not None:
                return replace(template.request, inputs=dict(inputs))
        return self._reader.read(body, header_length)

    def recognise(self, _body: bytes, _header_length: int | None) -> None:
        """Nothing."""


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

    def recognise(self, _body: bytes, _header_length: int | None) -> None:
        """Nothing."""


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
