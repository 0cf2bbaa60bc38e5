"""One message over HTTP: a deadline, few retries, and nothing secret in an error."""

import http.client
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError, UnavailableError

SECONDS: Final = 10.0
_ATTEMPTS: Final = 3
_PAUSE: Final = 0.5
_READ: Final = 65_536
_SHOWN: Final = 200
_LONGEST_WAIT: Final = 3600
_AGAIN: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said.

    Attributes:
        status: of HTTP.
        body: the first 64 KiB.
    """

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a mapping; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def post(
    url: str,
    body: Any,
    what: str,
    *,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    ca: str = "",
) -> Answer:
    """Post JSON; what it was answered, where that is no failure.

    A receiver that is busy (429, 5xx) or away is tried again, within ten seconds in all and no
    earlier than it asks for. Redirects are not followed.

    Args:
        url: checked already.
        body: bytes, or what becomes JSON.
        what: is posted to, for messages.
        headers: further ones.
        secrets: that no message may hold; the URL's path and query are added.
        ca: authorities (PEM) of an https receiver; empty = the system's.

    Raises:
        InvalidError: it is refused, and would be again.
        UnavailableError: nobody took it in time.
    """
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    sent = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    hidden = _hidden(url, secrets)
    end = time.monotonic() + SECONDS
    for attempt in range(1, _ATTEMPTS + 1):
        wait = _PAUSE * attempt
        try:
            answer, asked = _once(url, data, sent, end, ca)
        except ssl.SSLCertVerificationError as error:
            words = f"the certificate of {what}: {error.verify_message}"
            raise InvalidError(words, field="url") from None
        except (OSError, http.client.HTTPException) as error:
            words, retry = f"{what} did not answer: {type(error).__name__}", 1
        else:
            if answer.status < 300:
                return answer
            words = f"{what} answered {answer.status}{_said(answer, hidden)}"
            if answer.status < 500 and answer.status not in _AGAIN:
                raise InvalidError(words, field="url")
            retry = max(1, asked)
            wait = max(wait, float(asked))
        if attempt == _ATTEMPTS or time.monotonic() + wait >= end:
            raise UnavailableError(words, retry_after=min(retry, _LONGEST_WAIT)) from None
        time.sleep(wait)
    raise UnavailableError(f"{what} did not answer")  # not reached: the last attempt ends it


def refused(what: str, code: Any, message: Any, hidden: Sequence[str] = ()) -> InvalidError:
    """An answer that says no although its status is 200."""
    words = f"{what} answered code {code}: {shown(str(message), hidden)}"
    return InvalidError(words, field="url")


def shown(text: str, hidden: Sequence[str]) -> str:
    """What may be shown of a receiver's words: one short line without secrets."""
    for one in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(one, "***")
    line = " ".join(part for part in text.split() if part.isprintable())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _once(
    url: str, data: bytes, headers: Mapping[str, str], end: float, ca: str
) -> tuple[Answer, int]:
    """One try; the answer, and the seconds that it asks to wait.

    By the standard library: urllib3 writes every URL, and the secret in it, to its log.
    """
    parts = urlsplit(url)
    host, left = parts.hostname or "", max(0.1, end - time.monotonic())
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=left, context=context_of(ca)
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=left)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body=data, headers=dict(headers))
        response = connection.getresponse()
        body = b""
        while len(body) < _READ and (part := response.read1(_READ - len(body))):
            body += part
            if time.monotonic() > end:
                raise TimeoutError
        return Answer(response.status, body), _asked(response.headers.get("Retry-After", ""))
    finally:
        connection.close()


def context_of(ca: str) -> ssl.SSLContext:
    """TLS, by a file of authorities or by the system's.

    Raises:
        InvalidError: no such file.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        words = f"ca: {ca}: {error.strerror or 'no PEM'}"
        raise InvalidError(words, field="ca") from None


def _asked(text: str) -> int:
    if text.isdecimal():
        return int(text[:9])
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return 0
    return max(0, round(at - time.time()))


def _said(answer: Answer, hidden: Sequence[str]) -> str:
    words = shown(answer.body.decode(errors="replace"), hidden)
    return f": {words}" if words else ""


def _hidden(url: str, secrets: Sequence[str]) -> list[str]:
    rest = url.partition("://")[2].partition("/")[2]
    parts = [part for part in rest.replace("?", "/").replace("&", "/").split("/") if part]
    values = [part.partition("=")[2] for part in parts if "=" in part]
    return [*secrets, url, rest, *(part for part in [*parts, *values] if len(part) >= 8)]
