"""What a TLS port needs: certificate, key and client authorities, read and checked.

TLS 1.2 and 1.3, without renegotiation and compression; HTTP/1.1 by ALPN, HTTP/2 where asked for.
"""

import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.files import Mark, mark_of
from modelworks.edge.certificate import validity

_ENCRYPTED = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED")
_TOO_LARGE = 1 << 20  # a chain with its key takes some kilobytes


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are; all in PEM form.

    Attributes:
        certificate: with the chain behind it.
        key: of the certificate, not encrypted; may be the same file.
        client_ca: authorities of which every client must show a certificate; None = of none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def marks(self) -> tuple[Mark | None, ...]:
        """What changes when a file does, comes or goes."""
        return tuple(mark_of(path) for path in (self.certificate, self.key, self.client_ca) if path)


def load(files: TlsFiles, *, http2: bool = False) -> tuple[ssl.SSLContext, tuple[str, ...]]:
    """The server's side of TLS, and what its owner should hear.

    Args:
        files: see there.
        http2: is offered to clients too, before HTTP/1.1.

    Returns:
        A context for new handshakes; warnings (an expired certificate, a key others can read).

    Raises:
        InvalidError: a file is missing, cannot be read or does not fit; `field` says which.
    """
    chain = _text(files.certificate, "tls_cert")
    try:
        dates = validity(chain)
    except InvalidError as error:
        raise InvalidError(f"{files.certificate}: {error.message}", field="tls_cert") from error
    _check_key(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise _no_pair(files, error) from error
    if files.client_ca is not None:
        _require_clients(context, files.client_ca)
    warnings = []
    if concern := dates.concern(datetime.now(UTC)):
        warnings.append(f"the certificate {files.certificate}: {concern}")
    if files.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        warnings.append(f"everybody on this machine can read the key {files.key}: chmod 600 it")
    return context, tuple(warnings)


def _check_key(path: Path) -> None:
    text = _text(path, "tls_key")
    if any(mark in text for mark in _ENCRYPTED):
        raise InvalidError(
            f"the key {path} is encrypted, and nobody is there to type its password: write it "
            f"without one (openssl pkey -in {path} -out plain.pem; chmod 600 plain.pem)",
            field="tls_key",
        )
    if "PRIVATE KEY-----" not in text:
        raise InvalidError(
            f"{path} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)",
            field="tls_key",
        )


def _no_pair(files: TlsFiles, error: Exception) -> InvalidError:
    """Why OpenSSL does not take the pair."""
    reason = getattr(error, "reason", None) or str(error)
    if reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
        return InvalidError(
            f"the key {files.key} is not that of the certificate {files.certificate}: the "
            "certificate of this server stands first in its file, its authorities behind it",
            field="tls_key",
        )
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return InvalidError(
            f"the certificate {files.certificate} is too weak for today's TLS ({reason}): make one "
            "with RSA of 2048 bits or more, or with an elliptic curve",
            field="tls_cert",
        )
    return InvalidError(
        f"{files.certificate} and {files.key} cannot be used as certificate and key: {reason}",
        field="tls_cert",
    )


def _require_clients(context: ssl.SSLContext, path: Path) -> None:
    _text(path, "client_ca")
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise InvalidError(
            f"{path} cannot be used as the authorities of clients: {reason}", field="client_ca"
        ) from error
    if not context.cert_store_stats()["x509"]:
        raise InvalidError(f"{path} holds no certificate", field="client_ca")
    context.verify_mode = ssl.CERT_REQUIRED


def _text(path: Path, field: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_TOO_LARGE + 1)
    except OSError as error:
        raise InvalidError(
            f"{path} cannot be read by this user: {error.strerror}", field=field
        ) from error
    if len(data) > _TOO_LARGE:
        raise InvalidError(f"{path} is too large for a certificate or a key", field=field)
    return data.decode("latin-1")
