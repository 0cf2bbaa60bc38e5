"""Where a call's answer goes, and what is said where none comes."""

from typing import Final, Protocol

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.gateway.answer_head import AnswerHead

BAD_GATEWAY: Final = 502


class BadGatewayError(UnavailableError):
    """Every try has failed; told as 502, for repeating it is the caller's risk."""


class Returns(Protocol):
    """Where an answer goes: a caller's connection."""

    forwarded: bytes  # value of X-Forwarded-For, and the lines behind it

    def answer(self, head: AnswerHead, piece: bytes, *, done: bool) -> None:
        """It begins."""
        ...

    def more(self, piece: bytes, *, done: bool) -> None:
        """It goes on."""
        ...

    def refuse(self, error: ModelworksError) -> None:
        """We answer in an upstream's place."""
        ...

    def cut(self) -> None:
        """Its end does not come: the connection ends, so that nobody takes it for whole."""
        ...

    def hold(self, *, held: bool) -> None:
        """Read no more of the request's body, or do again."""
        ...
