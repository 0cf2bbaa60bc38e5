"""Where stages of other hosts are, and how both sides know each other.

Loopback may go without TLS; anywhere else both sides show a certificate of one authority.
"""

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from modelworks.core.errors import InvalidError

_NAMES = ("tls_ca", "tls_cert", "tls_key")


class Address(NamedTuple):
    """Of a stage."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only programs of this machine can be there."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Certificates(NamedTuple):
    """Files, PEM.

    Attributes:
        ca: the authority of both sides.
        cert: our chain.
        key: of it, not encrypted.
    """

    ca: Path
    cert: Path
    key: Path


def address_of(text: str, field: str) -> Address:
    """`HOST:PORT`, an IPv6 host in brackets.

    Raises:
        InvalidError: it is none.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise InvalidError(f"{field}: '{text[:80]}' is not HOST:PORT", field=field)
    return Address(host, int(port))


def certificates_of(settings: Mapping[str, str]) -> Certificates | None:
    """Those of some settings; None where there are none.

    Raises:
        InvalidError: one is missing, or no file.
    """
    given = {name: settings[name] for name in _NAMES if settings.get(name)}
    if not given:
        return None
    for name in _NAMES:
        if name not in given:
            raise InvalidError(
                f"{name} is missing: between hosts both sides show a certificate, so tls_ca, "
                "tls_cert and tls_key go together",
                field=name,
            )
        if not Path(given[name]).is_file():
            raise InvalidError(f"{name}: no file at {given[name]}", field=name)
    return Certificates(*(Path(given[name]) for name in _NAMES))


def context_of(
    address: Address, certificates: Certificates | None, *, server: bool
) -> ssl.SSLContext | None:
    """TLS 1.3 by which both sides are known; None on loopback, where nothing was given.

    Raises:
        InvalidError: others could ask, or files do not fit.
    """
    if certificates is None:
        if address.loopback:
            return None
        raise InvalidError(
            f"{address} is not on this machine, and stages are only reached from elsewhere by TLS "
            "that knows both sides: give tls_ca, tls_cert and tls_key",
            field="tls_ca",
        )
    kind = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(certificates.ca)
    except (ssl.SSLError, OSError) as error:
        raise InvalidError(
            f"tls_ca: {certificates.ca} holds no certificate ({_short(error)})", field="tls_ca"
        ) from error
    try:
        context.load_cert_chain(certificates.cert, certificates.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise InvalidError(
            f"tls_cert: {certificates.cert} and {certificates.key} are no certificate and its key "
            f"({_short(error)})",
            field="tls_cert",
        ) from error
    return context


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
