"""Settings of the gateway, read once: from the command line and the environment."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from modelworks.apps.options import (
    add_options,
    check_ranges,
    check_secured,
    kinds_of,
    read,
    tls_of,
)
from modelworks.core.errors import InvalidError
from modelworks.edge.limits import Limits
from modelworks.edge.tls import TlsFiles
from modelworks.gateway.front import Ways

PREFIX: Final = "MODELWORKS_GATEWAY_"
_LIMITS: Final = Limits()
_WAYS: Final = Ways()


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What one gateway is told.

    Attributes:
        snapshot: file of routes, or the URL of a control plane that has them.
        cache: file that the control plane's routes are kept in; goes with a URL.
        control_key: file with the API key for the control plane; "" = none.
        dns: resolver of endpoints' names; "" = the system's.
        consul: URL of the agent that is asked for endpoints; "" = the one on this machine.
        consul_token: file with the ACL token for it; "" = none.
        host: address that callers reach.
        port: 0 = a free one.
        share_port: others serve the port as well: it is joined without a look whether it is free,
            and not before there are routes; without any the gateway ends.
        workers: processes on the port.
        admin_host: address of metrics and state.
        admin_port: 0 = a free one, -1 = there is no admin address.
        zone: our own: its endpoints are preferred.
        tls_cert: see `EdgeSettings`, and so of `tls_key` and `client_ca`.
        upstream_ca: authorities (PEM) that upstreams are trusted by; "" = the system's.
        access_log: file, `-` = standard output, "" = none.
        access_log_format: `json`, `combined` or `ecs`.
        behind_proxy: `X-Forwarded-*` of callers is believed and passed on.
        replay: bytes of a body up to which it can be sent again and copied; others stream through.
        pairs: file of the answers of callers and shadows, side by side; "" = none.
        max_body: bytes of a request's body; 0 = any.
        max_connections: open at once, a worker.
        silence_seconds: an upstream that says nothing for so long is given up.
        check_seconds: between two health checks of one upstream.
        drain_seconds: how long a drain may take.
        announce: file that is written when the gateway is ready; "" = none.
        with_parent: end when the parent process ends.
        worker: given by the supervisor to its workers.
    """

    snapshot: str = ""
    cache: str = ""
    control_key: str = ""
    dns: str = ""
    consul: str = ""
    consul_token: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    share_port: bool = False
    workers: int = 1
    admin_host: str = "127.0.0.1"
    admin_port: int = 9901
    zone: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    upstream_ca: str = ""
    access_log: str = ""
    access_log_format: str = "json"
    behind_proxy: bool = False
    replay: int = _WAYS.replay
    pairs: str = ""
    max_body: int = 0
    max_connections: int = _LIMITS.max_connections
    silence_seconds: float = _WAYS.silence_s
    check_seconds: float = 2.0
    drain_seconds: float = 30.0
    announce: str = ""
    with_parent: bool = False
    worker: str = ""

    @classmethod
    def read(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> "GatewaySettings":
        """Read and check.

        Raises:
            InvalidError: an unknown or impossible setting; `field` names it.
        """
        base = cls()
        told = read(base, _parser(), (arguments, environ), PREFIX, kinds_of(base))
        return told.checked()

    def checked(self) -> "GatewaySettings":
        """The same, when it is possible."""
        if not self.snapshot:
            raise InvalidError("give --snapshot FILE or URL", field="snapshot")
        if self.remote and not self.cache:
            raise InvalidError(
                "a snapshot by URL goes with --cache FILE: it is gone by when the control plane "
                "is away",
                field="cache",
            )
        if self.share_port and not self.port:
            raise InvalidError(
                "share_port goes with a port: others cannot find one that is chosen at start",
                field="share_port",
            )
        check_ranges(self, _RANGES)
        check_secured(self)
        return self

    @property
    def remote(self) -> bool:
        """The snapshot comes from a control plane."""
        return self.snapshot.startswith(("http://", "https://"))

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS; None for plain HTTP."""
        return tls_of(self)

    @property
    def ways(self) -> Ways:
        """How it goes about it."""
        return Ways(self.replay, self.silence_seconds, self.behind_proxy)

    @property
    def limits(self) -> Limits:
        """Of the HTTP edge."""
        most = self.max_body or 1 << 40
        return replace(_LIMITS, max_body_bytes=most, max_connections=self.max_connections)


_RANGES: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65535),
    "admin_port": (-1, 65535),
    "workers": (1, 256),
    "replay": (0, 64 * 1024 * 1024),
    "max_body": (0, 1 << 40),
    "max_connections": (1, 1_000_000),
    "silence_seconds": (0.1, 86400),
    "check_seconds": (0.05, 86400),
    "drain_seconds": (0, 3600),
}

HELP: Final = {
    "snapshot": ("FILE|URL", "Routes: a file, or a control plane's address of them"),
    "cache": ("FILE", "Where a control plane's routes are kept"),
    "control_key": ("FILE", "API key for the control plane"),
    "dns": ("HOST[:PORT]", "Resolver that finds dns: endpoints (the system's)"),
    "consul": ("URL", "Agent that finds consul: endpoints (http://127.0.0.1:8500)"),
    "consul_token": ("FILE", "ACL token for Consul"),
    "host": ("ADDRESS", "To listen on (127.0.0.1)"),
    "port": ("PORT", "0 = a free one (8080)"),
    "share_port": ("", "Join others on the port, when there are routes"),
    "workers": ("N", "Processes on the port (1)"),
    "admin_host": ("ADDRESS", "Of metrics and state (127.0.0.1)"),
    "admin_port": ("PORT", "0 = a free one, -1 = none (9901)"),
    "zone": ("NAME", "Our own: its endpoints are preferred"),
    "tls_cert": ("PEM", "Certificate with its chain: speak HTTPS"),
    "tls_key": ("PEM", "Its key, not encrypted (in the certificate's file)"),
    "client_ca": ("PEM", "Authorities of which every client must show a certificate"),
    "upstream_ca": (
        "PEM",
        "Authorities that upstreams and control plane are trusted by (the system's)",
    ),
    "access_log": ("FILE|-", "Append a line a request"),
    "access_log_format": ("FORM", "Of the access log: json, combined or ecs (json)"),
    "behind_proxy": ("", "Believe X-Forwarded-* of callers, and pass it on"),
    "replay": ("BYTES", "Bodies up to here can be sent again and copied (1048576)"),
    "pairs": ("FILE", "Keep answers of callers and shadows side by side"),
    "max_body": ("BYTES", "Of a request (any)"),
    "max_connections": ("N", "Open at once, a worker (4096)"),
    "silence_seconds": ("S", "An upstream silent for so long is given up (300)"),
    "check_seconds": ("S", "Between two health checks of one upstream (2)"),
    "drain_seconds": ("S", "How long a drain may take (30)"),
    "announce": ("FILE", "Write url, port and pid there when ready"),
    "with_parent": ("", "End when the parent ends"),
}
"""Metavariable and meaning of each option."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modelworks.apps.gateway",
        description="One address for many model servers.",
        epilog=f"Every option can be given as {PREFIX}OPTION in the environment.",
        allow_abbrev=False,
    )
    add_options(parser, options())
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def options() -> Iterator[tuple[str, type, str, str]]:
    """Field, kind, metavariable and meaning of each option."""
    for name, (metavar, meaning) in HELP.items():
        yield name, type(getattr(_DEFAULTS, name)), metavar, meaning


_DEFAULTS: Final = GatewaySettings()
