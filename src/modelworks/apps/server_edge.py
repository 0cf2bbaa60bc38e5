"""Settings of the model server's edge: TLS, API keys, Unix socket, access log, limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from modelworks.apps.options import arguments_of, check_ranges, check_secured, tls_of
from modelworks.apps.server_jobs import JOBS_HELP, JobSettings
from modelworks.core.errors import InvalidError
from modelworks.edge.access_lines import Form
from modelworks.edge.limits import Limits
from modelworks.edge.tls import TlsFiles

_LIMITS: Final = Limits()
_MOST_MODE: Final = 0o777
_SECONDS: Final = (0.05, 86400)
_BYTES: Final = (1, 1 << 40)


@dataclass(frozen=True, slots=True)
class EdgeSettings(JobSettings):
    """What one server's edge is told; see `JobSettings` for jobs.

    Attributes:
        tls_cert: certificate with its chain (PEM): the port speaks HTTPS; "" = plain HTTP.
        tls_key: its private key (PEM, not encrypted); "" = in `tls_cert`.
        client_ca: authorities (PEM) of which every client must show a certificate; "" = of none.
        keys: file of API keys, of which every request must bring one; "" = none are asked for.
        routes: file of routes, their callers' keys and limits, followed while the server runs; "" =
            every model answers by its own name.
        unix: path of a Unix socket; "" = none.
        unix_mode: its rights, octal.
        unix_only: no TCP port beside it.
        grpc_port: a second port for clients of gRPC that expect one, such as 8001; both speak the
            same. 0 = none.
        access_log: file to which a line a request is appended; `-` = standard output, "" = none.
        access_log_format: `json`, `combined` or `ecs`.
        otlp: URL of a collector that gets traces and metrics by OTLP over HTTP; "" = none.
        otlp_seconds: between two tellings of the metrics.
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
    keys: str = ""
    routes: str = ""
    unix: str = ""
    unix_mode: str = "0600"
    unix_only: bool = False
    grpc_port: int = 0
    access_log: str = ""
    access_log_format: str = "json"
    otlp: str = ""
    otlp_seconds: float = 15.0
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
        check_ranges(self, _RANGES)
        self.check_jobs()
        check_secured(self)
        if self.unix_only and not self.unix:
            raise InvalidError("unix_only goes with unix", field="unix_only")
        if self.unix_only and self.tls_cert:
            raise InvalidError(
                "TLS is for the TCP port, and unix_only asks for none: leave one of them out",
                field="tls_cert",
            )
        if self.unix_only and self.grpc_port:
            raise InvalidError(
                "grpc_port is a TCP port, and unix_only asks for none: leave one of them out",
                field="grpc_port",
            )
        if self.otlp and urlsplit(self.otlp).scheme not in {"http", "https"}:
            raise InvalidError(
                f"otlp: '{self.otlp[:120]}' is no URL of a collector: http://HOST:4318 is wanted",
                field="otlp",
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
        return tls_of(self)

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
    "grpc_port": (0, 65535),
    "otlp_seconds": _SECONDS,
    "header_seconds": _SECONDS,
    "body_seconds": _SECONDS,
    "idle_seconds": _SECONDS,
}


HELP: Final = {
    "tls_cert": ("PEM", "Certificate with its chain: speak HTTPS"),
    "tls_key": ("PEM", "Its key, not encrypted (in the certificate's file)"),
    "client_ca": ("PEM", "Authorities of which every client must show a certificate"),
    "keys": ("FILE", "API keys, of which every request must bring one (modelworks keys)"),
    "routes": ("FILE", "Routes: who answers, who may ask, how much"),
    "unix": ("PATH", "Listen on a Unix socket too"),
    "unix_mode": ("MODE", "Rights of the Unix socket (0600)"),
    "unix_only": ("", "No TCP port beside the Unix socket"),
    "grpc_port": ("PORT", "A second port, for gRPC clients that expect one (none)"),
    "access_log": ("FILE|-", "Append a line a request"),
    "access_log_format": ("FORM", "Of the access log: json, combined or ecs (json)"),
    "otlp": ("URL", "Send traces and metrics to this collector (OTLP over HTTP)"),
    "otlp_seconds": ("S", "Between two tellings of the metrics (15)"),
    "max_body": ("BYTES", "Of a request (67108864)"),
    "max_inflated": ("BYTES", "Of a compressed body when decoded (16777216)"),
    "max_connections": ("N", "Open at once, a worker (4096)"),
    "header_seconds": ("S", "For a request's headers, and a TLS handshake (10)"),
    "body_seconds": ("S", "For a body, and one more for every 16 KiB of it (60)"),
    "idle_seconds": ("S", "An unused connection is closed after it (75)"),
    **JOBS_HELP,
}
"""Metavariable and meaning of each option, by field of `EdgeSettings`."""


def edge_options() -> Iterator[tuple[str, type, str, str]]:
    """Field, kind, metavariable and meaning of each option."""
    for name, (metavar, meaning) in HELP.items():
        yield name, type(getattr(_DEFAULTS, name)), metavar, meaning


def arguments_of_edge(given: Mapping[str, object]) -> list[str]:
    """The options that say `given`, by field; what is None or False is left out.

    Raises:
        InvalidError: they are impossible.
    """
    chosen: dict[str, Any] = {k: v for k, v in given.items() if v is not None and v is not False}
    EdgeSettings(**chosen).check_edge()
    return arguments_of(chosen)


_DEFAULTS: Final = EdgeSettings()
