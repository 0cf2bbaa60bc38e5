"""Where requests go: a URL, taken apart once, and sockets to it."""

import contextlib
import socket
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit, urlunsplit

from modelworks.core.errors import InvalidError, UnavailableError

_LONGEST_UNIX = 107  # bytes that the kernel's address holds


@dataclass(frozen=True, slots=True)
class Target:
    """An HTTP endpoint.

    Attributes:
        scheme: `http` or `https`.
        host: name or address, without brackets.
        port: of it.
        path: with the query, percent-encoded; begins with a slash.
        unix: path of a Unix socket that is spoken to instead of host and port; empty = TCP.
        cafile: certificates that an https server's is checked against; empty = the system's.
        insecure: take any certificate.
        certfile: our certificate (PEM) for mutual TLS; empty = none.
        keyfile: its key; empty = in `certfile`.
        key: an API key that every request brings; empty = none.
    """

    scheme: str
    host: str
    port: int
    path: str
    unix: str = ""
    cafile: str = ""
    insecure: bool = False
    certfile: str = ""
    keyfile: str = ""
    key: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole, for messages."""
        url = urlunsplit((self.scheme, self.authority, "", "", "")) + self.path
        return f"{url} over {self.unix}" if self.unix else url

    def at(self, path: str) -> "Target":
        """The same server, another path."""
        return replace(self, path=path)

    def context(self) -> ssl.SSLContext | None:
        """TLS as asked for; None where there is none.

        Raises:
            InvalidError: certificates that cannot be read.
        """
        if self.scheme != "https":
            return None
        try:
            context = ssl.create_default_context(cafile=self.cafile or None)
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile or None)
        except (OSError, ssl.SSLError) as error:
            name = self.certfile or self.cafile
            raise InvalidError(f"certificates {name}: {error}", field="cafile") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self, context: ssl.SSLContext | None, seconds: float = 5.0) -> socket.socket:
        """A connected socket, blocking with that time limit; with TLS where `context` is given.

        Raises:
            UnavailableError: nothing listens there, or TLS failed.
        """
        opened: socket.socket | None = None
        try:
            if self.unix:
                opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                opened.settimeout(seconds)
                opened.connect(self.unix)
            else:
                opened = socket.create_connection((self.host, self.port), timeout=seconds)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                opened = context.wrap_socket(opened, server_hostname=self.host)
        except OSError as error:
            if opened is not None:
                with contextlib.suppress(OSError):
                    opened.close()
            why = error.strerror or str(error) or type(error).__name__
            raise UnavailableError(f"no connection to {self.url}: {why}") from error
        return opened


def parse_target(text: str, unix: str = "") -> Target:
    """A target from a URL.

    Args:
        text: `http://`, `https://`, `unix:///run/server.sock` (path `/`), or
            `http+unix://%2Frun%2Fserver.sock/path`.
        unix: path of a Unix socket to speak to; the URL then only names host and path.

    Raises:
        InvalidError: no such URL.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidError(f"'{text}' is no URL: {error}", field="url") from error
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "unix" and not parts.netloc and len(path) > 1:
        return _over(unquote(path), "/")
    if parts.scheme == "http+unix" and parts.netloc:
        return _over(unix or unquote(parts.netloc), path)
    hostname = parts.hostname
    if parts.scheme not in {"http", "https"} or not hostname or parts.username is not None:
        raise InvalidError(
            f"'{text}' is no URL of a server: write it as http://127.0.0.1:8000", field="url"
        )
    if any(ord(letter) <= 32 or ord(letter) > 126 for letter in path):
        raise InvalidError(f"'{text}': its path is to be percent-encoded", field="url")
    if unix:
        return _over(unix, path)
    usual = 443 if parts.scheme == "https" else 80
    return Target(parts.scheme, hostname, port or usual, path)


def _over(unix: str, path: str) -> Target:
    if len(unix.encode()) > _LONGEST_UNIX:
        raise InvalidError(f"'{unix}' is too long for a Unix socket", field="url")
    return Target("http", "localhost", 80, path, unix)
