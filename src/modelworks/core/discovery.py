"""Endpoints that are found by name, and what finds them.

    dns:models.example.com:8080                    all its addresses (A and AAAA), on one port
    dns+srv:_http._tcp.models.example.com          addresses and ports that SRV records name
    consul:fraud?dc=eu&tag=blue                    what Consul holds for healthy

`?tls=NAME` behind any of them: HTTPS, and the certificate must be good for NAME.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol
from urllib.parse import parse_qsl

from modelworks.core.errors import InvalidError

_OPTIONS: Final = {
    "dns": frozenset({"tls"}),
    "dns+srv": frozenset({"tls"}),
    "consul": frozenset({"tls", "dc", "tag"}),
}
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True, slots=True)
class Named:
    """A name that endpoints are found by.

    Attributes:
        kind: `dns`, `dns+srv` or `consul`.
        name: that is asked for.
        port: of all addresses; 0 = each answer has its own.
        options: `dc` and `tag` of Consul.
        tls: name that certificates must be good for; empty = plain HTTP.
    """

    kind: str
    name: str
    port: int = 0
    options: dict[str, str] = field(default_factory=dict)
    tls: str = ""

    @property
    def directory(self) -> str:
        """Which plug-in finds them: `dns` or `consul`."""
        return self.kind.partition("+")[0]


@dataclass(frozen=True, slots=True)
class Found:
    """What a name stands for.

    Attributes:
        addresses: host or IP, and port; in an order of its own that does not change by itself.
        again_s: when it is worth asking again; 0 = at once, for the next answer waits for news.
        mark: to be given with the next question; empty = there is none.
    """

    addresses: tuple[tuple[str, int], ...]
    again_s: float
    mark: str = ""


class Finder(Protocol):
    """Asks one directory: DNS, Consul. Called from threads, several at once.

    Args:
        address: of the directory; empty = where it usually is.
        secret: that it asks for; empty = none.

    Attributes:
        experimental: not run against the real thing.
    """

    experimental: ClassVar[bool]

    def __init__(self, address: str, secret: str) -> None: ...

    def find(self, named: Named, mark: str) -> Found:
        """Look a name up; may wait for news for half a minute where `mark` is given.

        Returns:
            What is there; no address where the directory says that there is none.

        Raises:
            UnavailableError: the directory cannot say.
            InvalidError: it refuses the question.
        """
        ...


def is_named(url: str) -> bool:
    """Whether an endpoint is found by a name."""
    return url.partition(":")[0] in _OPTIONS


def named_of(url: str) -> Named:
    """What an endpoint is found by.

    Raises:
        InvalidError: it is malformed; the message says how it is written.
    """
    kind, _, rest = url.partition(":")
    text, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise InvalidError(f"{url!r}: {error}", field="url") from error
    options = dict(pairs)
    odd = [name for name in options if name not in _OPTIONS[kind]]
    if odd or len(options) != len(pairs):
        known = ", ".join(sorted(_OPTIONS[kind]))
        raise InvalidError(f"{url!r}: options of {kind} are {known}, once each", field="url")
    for name, value in options.items():
        if _VALUE.fullmatch(value) is None:
            raise InvalidError(f"{url!r}: {name}={value!r} is no name", field="url")
    port = 0
    if kind == "dns":
        text, _, digits = text.rpartition(":")
        port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
        if not 0 < port < 65536:
            raise InvalidError(f"{url!r}: dns:NAME:PORT is wanted", field="url")
    if _HOST.fullmatch(text) is None:
        raise InvalidError(f"{url!r}: '{text[:120]}' is no name", field="url")
    tls = options.pop("tls", "")
    return Named(kind, text, port, options, tls)
