"""How a client proves a server, and itself, where they speak HTTPS."""

import ssl
from dataclasses import dataclass

from modelworks.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files in PEM form; empty = not given.

    Attributes:
        ca: authorities that servers are held to; empty = those of this machine.
        certificate: that a server may ask for, with its chain.
        key: of the certificate; empty = in the same file.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext | None:
        """What connections use; None where nothing was given and the defaults do.

        Raises:
            InvalidError: a file cannot be used; `field` says which.
        """
        if self.key and not self.certificate:
            raise InvalidError("client_key goes with client_cert", field="client_key")
        if not self.ca and not self.certificate:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError(
                f"{self.ca} cannot be used as authorities (PEM): {_why(error)}", field="ca"
            ) from error
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key or None, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                raise InvalidError(
                    f"{self.certificate} cannot be used as certificate and (unencrypted) key: "
                    f"{_why(error)}",
                    field="client_cert",
                ) from error
        return context


def _why(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
