"""Where the gateways of this installation tell what they counted."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from modelworks.client.gateways import listed
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home


def admins(home: Home, named: Iterable[str] = ()) -> list[str]:
    """Admin addresses (`http://127.0.0.1:9901`): those of this machine, then those that are named.

    Args:
        home: whose gateways; they announce themselves there.
        named: of other machines, which nobody announces here: `modelworks up --gateways`.
    """
    here = [gateway.admin for gateway in listed(home) if gateway.admin]
    return list(dict.fromkeys([*here, *(url.rstrip("/") for url in named)]))


def addresses(text: str) -> tuple[str, ...]:
    """Admin addresses that a command line names, parted by commas.

    Raises:
        InvalidError: one is no address; `field` is `gateways`.
    """
    found = tuple(filter(None, (piece.strip().rstrip("/") for piece in text.split(","))))
    for url in found:
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
            parts = urlsplit("")
        if not good or parts.path or parts.query or parts.username:
            raise InvalidError(
                f"--gateways: '{url[:80]}' is no admin address: http://HOST:9901 is wanted, "
                "several parted by commas",
                field="gateways",
            )
    return found
