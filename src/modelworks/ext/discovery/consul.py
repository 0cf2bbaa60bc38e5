"""Consul: the instances of a service that pass their health checks, by its HTTP API.

`GET /v1/health/service/NAME?passing=1&index=N&wait=25s`: a blocking query, answered when something
has changed or the wait is over (https://developer.hashicorp.com/consul/api-docs/features/blocking).
"""

import http.client
import json
import ssl
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

from modelworks.core.discovery import Found, Named
from modelworks.core.errors import InvalidError, UnavailableError

DEFAULT: Final = "http://127.0.0.1:8500"
WAIT_S: Final = 25
_SLACK_S: Final = 5.0  # Consul adds up to a sixteenth of the wait
_MOST: Final = 16 * 1024 * 1024


class ConsulFinder:
    """Asks one agent.

    Args:
        address: `http://HOST:PORT` or `https://...`; empty = the agent on this machine.
        secret: ACL token; empty = none.

    Raises:
        InvalidError: no address.
    """

    experimental: ClassVar[bool] = True

    def __init__(self, address: str = "", secret: str = "") -> None:
        self._parts = urlsplit(address or DEFAULT)
        self._secret = secret
        try:
            _ = self._parts.port
        except ValueError as error:
            raise InvalidError(f"'{address}' is no address: {error}", field="consul") from error
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname:
            raise InvalidError(f"'{address}': http://HOST:PORT is wanted", field="consul")

    def find(self, named: Named, mark: str) -> Found:
        """See `Finder`."""
        index = int(mark or 0)
        body, told = self._ask(named, index)
        # An index that goes back, or is none, means that the next question begins anew.
        again = told if told >= max(index, 1) else 0
        return Found(_addresses(body), 0.0 if again else 1.0, str(again) if again else "")

    def _ask(self, named: Named, index: int) -> tuple[Any, int]:
        """The body, and the index of what it shows."""
        asked = {"passing": "1", **named.options}
        if index:
            asked |= {"index": str(index), "wait": f"{WAIT_S}s"}
        target = f"/v1/health/service/{quote(named.name, safe='')}?{urlencode(asked)}"
        target = self._parts.path.rstrip("/") + target
        headers = {"X-Consul-Token": self._secret} if self._secret else {}
        connection = self._connection()
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            raw = answer.read(_MOST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"Consul at {self._parts.netloc}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200 or len(raw) > _MOST:
            said = raw[:200].decode("utf-8", "replace")
            message = f"Consul at {self._parts.netloc} answers {answer.status}: {said}"
            if answer.status in {400, 403, 404}:
                raise InvalidError(message, field="consul")
            raise UnavailableError(message)
        try:
            return json.loads(raw), int(answer.headers.get("X-Consul-Index", "0"))
        except ValueError as error:
            raise UnavailableError(f"Consul at {self._parts.netloc}: {error}") from error

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        limit = WAIT_S + _SLACK_S
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=limit, context=context)
        return http.client.HTTPConnection(host, port, timeout=limit)


def _addresses(body: Any) -> tuple[tuple[str, int], ...]:
    """Of each instance the service's address, or its node's where that says none."""
    try:
        found = {
            (entry["Service"]["Address"] or entry["Node"]["Address"], int(entry["Service"]["Port"]))
            for entry in body
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UnavailableError(f"Consul answers something else than services: {error!r}") from error
    return tuple(sorted((host, port) for host, port in found if host and 0 < port < 65536))
