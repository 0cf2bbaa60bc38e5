"""The world outside, as jobs may reach it: hosts that are named in the settings, and no others.

A URL comes from a caller, and the server asks it from inside the network: so the name has to be
one that the operator allows, every address it stands for is looked at, and the connection goes to
the address that was looked at, not to what the name stands for a moment later. Redirects are not
followed. One deadline counts for all: a server that drips holds nobody.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError, RefusedError, UnavailableError

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SITES: Final = ipaddress.IPv6Network("fec0::/10")  # once for sites; Python calls them public
_LONGEST: Final = 2048
_PIECE: Final = 1 << 16
_DIGITS: Final = 18
_ANSWER: Final = 64 << 10  # of a callback's answer, which nobody reads


@dataclass(frozen=True, slots=True)
class Place:
    """A URL that may be asked.

    Attributes:
        scheme: `http` or `https`.
        host: name or address.
        port: of it.
        path: with the query.
        shown: the URL without its query, for messages: queries carry secrets.
    """

    scheme: str
    host: str
    port: int
    path: str
    shown: str


class Outside:
    """What may be reached.

    Args:
        allowed: names (`models.example.com`, `*.example.com`, `*`), and addresses or networks
            (`10.1.2.3`, `10.0.0.0/8`). Names stand for public addresses, and for those of the
            networks that are listed; an address in a URL has to be of a listed network, or public
            where `*` is listed.

    Raises:
        InvalidError: an entry that is neither.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._networks: list[_Network] = []
        self._names: list[str] = []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                name = entry.lower().removeprefix("*.")
                if entry != "*" and (not name or set(name) & set("*/:@? ")):
                    raise InvalidError(
                        f"'{entry[:80]}' is no host (models.example.com, *.example.com, *) and no "
                        "network (10.0.0.0/8)",
                        field="jobs_outside",
                    ) from error
                self._names.append(entry.lower())

    def place(self, url: str, field: str) -> Place:
        """A URL that may be asked, as far as that can be told without looking its name up.

        Raises:
            InvalidError: it is none.
            RefusedError: it may not be asked; the message says the setting.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise InvalidError(f"{field}: no URL: {error}", field=field) from error
        if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url:
            raise InvalidError(
                f"{field}: a URL of at most {_LONGEST} printable ASCII characters is wanted",
                field=field,
            )
        if parts.scheme not in _PORTS:
            raise RefusedError(
                f"{field}: '{parts.scheme[:20]}' is not taken: http:// or https://", field=field
            )
        if parts.username is not None or parts.password is not None or not parts.hostname:
            raise InvalidError(f"{field}: https://HOST/PATH without a user is wanted", field=field)
        host = parts.hostname.rstrip(".")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        place = Place(
            parts.scheme, host, port, path, f"{parts.scheme}://{parts.netloc}{parts.path}"
        )
        address = _address(host)
        if address is not None:
            self._check(address, place, field)
        elif not self._named(host):
            raise RefusedError(
                f"{field}: this server does not go to '{host[:100]}': list it in jobs_outside "
                "(serve --jobs-outside)",
                field=field,
            )
        return place

    def get(self, url: str, seconds: float, most: int) -> tuple[bytes, Mapping[str, str]]:
        """The body behind a URL, and its headers by lower-case name. Blocks.

        Raises:
            InvalidError: it is refused, larger than `most` bytes, or not found.
            UnavailableError: it did not come in time.
        """
        place = self.place(url, "Job-Inputs")
        with self._asked(place, "Job-Inputs", seconds) as (connection, until):
            connection.request("GET", place.path, headers={"Accept": "*/*"})
            answer = connection.getresponse()
            if answer.status != 200:
                kind = UnavailableError if answer.status in {429, 502, 503, 504} else InvalidError
                raise kind(
                    f"Job-Inputs: {place.shown} answered {answer.status}, and redirects are not "
                    "followed"
                )
            length = answer.headers.get("Content-Length", "")
            # One of thousands of digits is more than Python makes a number of.
            large = length.isdecimal() and (len(length) > _DIGITS or int(length) > most)
            body = b"" if large else _read(answer, until, most)
            if large or len(body) > most:
                raise InvalidError(
                    f"Job-Inputs: {place.shown} has more than {most} bytes", field="Job-Inputs"
                )
            if answer.length:
                raise ConnectionError("it broke off before its end")
            return body, {name.lower(): value for name, value in answer.headers.items()}

    def post(self, url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
        """Send a body; the status of the answer. Blocks.

        Raises:
            InvalidError: it is refused.
            UnavailableError: nobody took it in time.
        """
        place = self.place(url, "Job-Callback")
        with self._asked(place, "Job-Callback", seconds) as (connection, until):
            connection.request("POST", place.path, body, dict(headers))
            answer = connection.getresponse()
            _read(answer, until, _ANSWER)
            return answer.status

    @contextmanager
    def _asked(
        self, place: Place, field: str, seconds: float
    ) -> Iterator[tuple[http.client.HTTPConnection, float]]:
        until = time.monotonic() + seconds
        address = self._resolve(place, field)
        connection = _Pinned(place, address, seconds)
        # Every read has a time-out of its own; this ends them all together.
        timer = threading.Timer(seconds, connection.cut)
        timer.daemon = True
        timer.start()
        try:
            yield connection, until
        except (OSError, http.client.HTTPException) as error:
            over = time.monotonic() >= until
            why = f"no whole answer within {seconds:g} s" if over else str(error)
            raise UnavailableError(
                f"{field}: {place.shown}: {why or type(error).__name__}"
            ) from error
        finally:
            timer.cancel()
            connection.close()

    def _resolve(self, place: Place, field: str) -> _Address:
        known = _address(place.host)
        if known is not None:
            self._check(known, place, field)
            return known
        try:
            found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnavailableError(f"{field}: '{place.host}' is not found: {error}") from error
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        for address in addresses:
            self._check(address, place, field)
        return addresses[0]

    def _named(self, host: str) -> bool:
        host = host.lower()
        for name in self._names:
            if name in {"*", host} or (name.startswith("*.") and host.endswith(name[1:])):
                return True
        return False

    def _check(self, address: _Address, place: Place, field: str) -> None:
        inner = _inner(address)
        if any(inner in network for network in self._networks if network.version == inner.version):
            return
        public = inner.is_global and not inner.is_multicast and not inner.is_reserved
        public = public and inner not in _SITES
        if public and (
            self._named(place.host) if _address(place.host) is None else "*" in self._names
        ):
            return
        raise RefusedError(
            f"{field}: this server does not go to {place.host} ({inner}): its network is not "
            "public, or not allowed; list it in jobs_outside (serve --jobs-outside)",
            field=field,
        )


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was looked at, under the name that was asked for."""

    def __init__(self, place: Place, address: _Address, seconds: float) -> None:
        super().__init__(place.host, place.port, timeout=seconds)
        self._address = address
        self._tls = place.scheme == "https"
        self.default_port = _PORTS[place.scheme]
        self._cut = False

    def connect(self) -> None:
        """Reach the address; with TLS the certificate has to be the name's."""
        sock = socket.create_connection((str(self._address), self.port), self.timeout)
        self.sock = sock
        if self._tls:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(sock, server_hostname=self.host)
        if self._cut:
            raise TimeoutError("the time was over")

    def cut(self) -> None:
        """End it from another thread: whoever reads is told at once."""
        self._cut = True
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _read(answer: http.client.HTTPResponse, until: float, most: int) -> bytes:
    """At most one byte more than `most`."""
    parts, size = [], 0
    while size <= most:
        if time.monotonic() >= until:
            raise TimeoutError("the time was over")
        piece = answer.read1(min(_PIECE, most + 1 - size))
        if not piece:
            break
        parts.append(piece)
        size += len(piece)
    return b"".join(parts)


def _inner(address: _Address) -> _Address:
    """The address that is reached in the end: IPv6 has several ways to write one of IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, address))[1]


def _address(host: str) -> _Address | None:
    """The address that a host is; None = it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
