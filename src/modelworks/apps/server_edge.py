"""Settings of the model server's edge: TLS, Unix socket, access log, limits."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.edge.access_lines import Form
from modelworks.edge.limits import Limits
from modelworks.edge.tls import TlsFiles

_LIMITS: Final = Limits()
_MOST_MODE: Final = 0o777
_SECONDS: Final = (0.05, 86400)
_BYTES: Final = (1, 1 << 40)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What one server's edge is told.

    Attributes:
        tls_cert: certificate with its chain (PEM): the port speaks HTTPS; "" = plain HTTP.
        tls_key: its private key (PEM, not encrypted); "" = in `tls_cert`.
        client_ca: authorities (PEM) of which every client must show a certificate; "" = of none.
        unix: path of a Unix socket; "" = none.
        unix_mode: its rights, octal.
        unix_only: no TCP port beside it.
        access_log: file to which a line a request is appended; `-` = standard output, "" = none.
        access_log_format: `json` or `combined`.
        max_body: bytes of a request's body.
        max_inflated: bytes of a compressed one, when decoded.
        max_connections: open at once, a worker.
        header_seconds: for a request's headers; for a TLS handshake as well.
        body_seconds: for a body, and one more for every 16 KiB of it.
        idle_seconds: an unused connection is closed after it.
    """

    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    unix: str = ""
    unix_mode: str = "0600"
    unix_only: bool = False
    access_log: str = ""
    access_log_format: str = "json"
    max_body: int = _LIMITS.max_body_bytes
    max_inflated: int = _LIMITS.max_inflated_bytes
    max_connections: int = _LIMITS.max_connections
    header_seconds: float = _LIMITS.header_timeout_s
    body_seconds: float = _LIMITS.body_timeout_s
    idle_seconds: float = _LIMITS.idle_timeout_s

    def check_edge(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InvalidError: an impossible setting, or two that contradict; `field` names it.
        """
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise InvalidError(f"{name}: {value} is not from {lowest} to {highest}", field=name)
        for name, needed in (("tls_key", "tls_cert"), ("client_ca", "tls_cert")):
            if getattr(self, name) and not getattr(self, needed):
                raise InvalidError(f"{name} goes with {needed}", field=name)
        if self.unix_only and not self.unix:
            raise InvalidError("unix_only goes with unix", field="unix_only")
        if self.unix_only and self.tls_cert:
            raise InvalidError(
                "TLS is for the TCP port, and unix_only asks for none: leave one of them out",
                field="tls_cert",
            )
        if self.access_log_format not in list(Form):
            raise InvalidError(
                f"access_log_format: '{self.access_log_format}' is none of {', '.join(Form)}",
                field="access_log_format",
            )
        _ = self.mode

    @property
    def mode(self) -> int:
        """Rights of the Unix socket.

        Raises:
            InvalidError: no octal number of rights.
        """
        try:
            mode = int(self.unix_mode, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= _MOST_MODE:
            raise InvalidError(
                f"unix_mode: '{self.unix_mode}' is no octal mode such as 0600 or 0660",
                field="unix_mode",
            )
        return mode

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None for plain HTTP."""
        if not self.tls_cert:
            return None
        certificate = Path(self.tls_cert)
        key = Path(self.tls_key) if self.tls_key else certificate
        return TlsFiles(certificate, key, Path(self.client_ca) if self.client_ca else None)

    @property
    def form(self) -> Form:
        """Of the access log's lines."""
        return Form(self.access_log_format)

    @property
    def limits(self) -> Limits:
        """The edge's limits."""
        return replace(
            _LIMITS,
            max_body_bytes=self.max_body,
            max_inflated_bytes=self.max_inflated,
            max_buffered_bytes=max(_LIMITS.max_buffered_bytes, self.max_body),
            max_connections=self.max_connections,
            header_timeout_s=self.header_seconds,
            body_timeout_s=self.body_seconds,
            idle_timeout_s=self.idle_seconds,
        )


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "max_body": _BYTES,
    "max_inflated": _BYTES,
    "max_connections": (1, 1_000_000),
    "header_seconds": _SECONDS,
    "body_seconds": _SECONDS,
    "idle_seconds": _SECONDS,
}


def add_edge_options(parser: argparse.ArgumentParser) -> None:
    """The same as options of a command line."""
    add = parser.add_argument
    add("--tls-cert", metavar="PEM", help="certificate and chain: speak HTTPS")
    add("--tls-key", metavar="PEM", help="its key, not encrypted (in --tls-cert)")
    add("--client-ca", metavar="PEM", help="every client must show a certificate of these")
    add("--unix", metavar="PATH", help="listen on a Unix socket too")
    add("--unix-mode", metavar="MODE", help="rights of the Unix socket (0600)")
    add("--unix-only", action="store_true", default=None, help="no TCP port beside --unix")
    add("--access-log", metavar="FILE|-", help="append a line a request")
    add("--access-log-format", metavar="FORM", help="json or combined (json)")
    add("--max-body", type=int, metavar="BYTES", help="of a request (67108864)")
    add("--max-inflated", type=int, metavar="BYTES", help="of a decoded gzip body (16777216)")
    add("--max-connections", type=int, metavar="N", help="open at once, a worker (4096)")
    add("--header-seconds", type=float, help="for headers and TLS handshakes (10)")
    add("--body-seconds", type=float, help="for a body, and 1 s for every 16 KiB (60)")
    add("--idle-seconds", type=float, help="close an unused connection after it (75)")
