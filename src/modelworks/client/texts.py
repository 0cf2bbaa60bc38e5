"""Texts of a model that generates: whole, or piece by piece as they come."""

import json
from collections.abc import Iterator
from typing import Any

from modelworks.client.wire import Wire, problem
from modelworks.core.errors import CrashedError, UnavailableError

GENERATE_SECONDS = 300.0
_EVENT = b"data: "


class Texts:
    """Of one model server.

    Args:
        wire: to it.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def whole(self, path: str, text: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The text when it is complete, and why it ended.

        Args:
            path: of the model, as the Open Inference Protocol spells it.
            text: to continue.
            parameters: see the server's `/generate`.
        """
        answer = self._wire.json(
            "POST",
            f"/v2/models/{path}/generate",
            data={"text_input": text, "parameters": parameters},
            seconds=GENERATE_SECONDS,
        )
        return dict(answer)

    def events(self, path: str, text: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every event as it comes; closing the iterator stops the server's work.

        Raises:
            ModelworksError: what the server says, before the first event or behind it.
            UnavailableError: the connection broke in the middle.
        """
        asked = json.dumps({"text_input": text, "parameters": parameters}).encode()
        left = b""
        whole = False
        pieces = self._wire.pieces(
            "POST", f"/v2/models/{path}/generate_stream", body=asked, seconds=GENERATE_SECONDS
        )
        try:
            for piece in pieces:
                *lines, left = (left + piece).split(b"\n\n")
                for line in lines:
                    event = self._read(line)
                    whole = "finish_reason" in event
                    yield event
        finally:
            pieces.close()
        if not whole:
            raise UnavailableError(f"the answer of {self._wire.url} broke off before its end")

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line[len(_EVENT) :]) if line.startswith(_EVENT) else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CrashedError(f"{self._wire.url} sent what is no event: {line[:60]!r}")
        if "error" in found:
            raise problem(500, line[len(_EVENT) :], {}, "model server")
        return found
