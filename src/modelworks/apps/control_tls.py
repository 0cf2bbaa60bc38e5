"""TLS of the control plane: certificate and key, followed while it runs."""

import logging
import ssl
import threading
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.edge.tls import TlsFiles, load

_log = logging.getLogger(__name__)
_LOOK_S: Final = 1.0
_END_S: Final = 5.0


def tls_files(certificate: str, key: str) -> TlsFiles | None:
    """The files that two options name; None for plain HTTP.

    Raises:
        InvalidError: a key without a certificate.
    """
    if key and not certificate:
        raise InvalidError("tls_key goes with tls_cert", field="tls_key")
    if not certificate:
        return None
    return TlsFiles(Path(certificate), Path(key or certificate))


class FollowedTls:
    """A context for a server's whole life, whose handshakes use the files as they are now.

    Each handshake is handed on to the newest context before it chooses a certificate; a pair that
    does not fit is never seen half-way, and leaves the last good one in force.

    Args:
        files: read at once.

    Attributes:
        context: what the server is given.

    Raises:
        InvalidError: they cannot be used; `field` says which.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._marks = files.marks()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.context = self._newest = self._load()
        self.context.sni_callback = self._hand_on

    def start(self) -> None:
        """Follow the files."""
        self._thread = threading.Thread(target=self._follow, name="tls files", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow them no longer."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def look(self) -> None:
        """Take the files, if they have changed."""
        marks = self._files.marks()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            self._newest = self._load()
        except InvalidError as error:
            _log.error("the changed TLS files are not used, the last ones stay: %s", error)
        else:
            _log.info("TLS files have changed: new handshakes use %s", self._files.certificate)

    def _hand_on(
        self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        handshake.context = self._newest

    def _follow(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.look()

    def _load(self) -> ssl.SSLContext:
        context, warnings = load(self._files)
        for warning in warnings:
            _log.warning("%s", warning)
        return context
