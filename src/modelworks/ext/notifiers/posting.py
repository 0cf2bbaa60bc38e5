"""One message over HTTP: a deadline, few retries, and nothing secret in an error."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import urllib3

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
    with urllib3.PoolManager(
        num_pools=1, retries=False, ca_certs=ca or None, cert_reqs="CERT_REQUIRED"
    ) as pool:
        for attempt in range(1, _ATTEMPTS + 1):
            wait = min(_PAUSE * attempt, _LONGEST_WAIT)
            try:
                answer, asked = _once(pool, url, data, sent, end)
            except urllib3.exceptions.HTTPError as error:
                words = f"{what} did not answer: {type(error).__name__}"
                retry = 1
            else:
                if answer.status < 300:
                    return answer
                words = f"{what} answered {answer.status}{_said(answer, hidden)}"
                if answer.status < 500 and answer.status not in _AGAIN:
                    raise InvalidError(words, field="url")
                retry = max(1, asked)
                wait = max(wait, asked)
            if attempt == _ATTEMPTS or time.monotonic() + wait >= end:
                raise UnavailableError(words, retry_after=min(retry, _LONGEST_WAIT))
            time.sleep(wait)
    raise AssertionError  # the last attempt returned or raised


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
    pool: urllib3.PoolManager, url: str, data: bytes, headers: Mapping[str, str], end: float
) -> tuple[Answer, int]:
    """One try; the answer, and the seconds that it asks to wait."""
    left = max(0.1, end - time.monotonic())
    response = pool.request(
        "POST",
        url,
        body=data,
        headers=headers,
        timeout=urllib3.Timeout(total=left),
        redirect=False,
        preload_content=False,
    )
    try:
        body = b""
        while len(body) < _READ and (part := response.read(_READ - len(body), decode_content=True)):
            body += part
            if time.monotonic() > end:
                raise urllib3.exceptions.ReadTimeoutError(pool, url, "too slow")  # type: ignore[arg-type]
        return Answer(response.status, body), _asked(response.headers.get("Retry-After", ""))
    finally:
        response.close()


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
