"""Records as CloudEvents over HTTP: binary, structured or batched.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit

import urllib3

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.records import Record
from modelworks.ext.settings import files
from modelworks.ext.sinks import events

MODES: Final = ("batched", "structured", "binary")
_SECONDS: Final = 30.0
_BATCH_BYTES: Final = 1 << 20
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_LONGEST_WORD: Final = 200


class CloudEventsSink:
    """See `core.seams.RecordSink`."""

    name: ClassVar[str] = "cloudevents"
    extra: ClassVar[str] = ""
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "url": "where events are posted to, http:// or https://",
        "mode": "batched (many a request), structured or binary (one a request)",
        "token_file": "a file whose content is sent as a bearer token",
        "ca": "authorities (PEM) of an https receiver",
        "timeout": "seconds for one handing over, all tries together",
    }

    def open(self, settings: Mapping[str, str]) -> "OpenCloudEvents":
        """See `RecordSink.open`; nobody is asked before there is something to send."""
        events.checked(settings, self.settings, ("url",))
        return OpenCloudEvents(settings)


class OpenCloudEvents:
    """See `core.seams.OpenSink`."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        url = urlsplit(settings["url"])
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise InvalidError("url: http://HOST/PATH or https://HOST/PATH is wanted", field="url")
        self._mode = settings.get("mode") or MODES[0]
        if self._mode not in MODES:
            raise InvalidError(f"mode: '{self._mode}' is none of {', '.join(MODES)}", field="mode")
        self._url = settings["url"]
        self._shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"  # paths may be secrets
        self._seconds = events.seconds_of(settings, "timeout", _SECONDS)
        self._headers = _authorization(settings.get("token_file", ""))
        files(settings, "ca")
        ca = settings.get("ca") or None
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, ca_certs=ca, retries=False)

    def send(self, records: Sequence[Record]) -> None:
        """See `OpenSink.send`.

        Raises:
            InvalidError: the receiver refuses them (4xx), and would again.
            UnavailableError: as in `OpenSink.send`.
        """
        deadline = time.monotonic() + self._seconds
        for headers, body in self._requests(records):
            self._post(headers | self._headers, body, deadline)

    def close(self) -> None:
        """See `OpenSink.close`."""
        self._pool.clear()

    def _requests(self, records: Sequence[Record]) -> Iterator[tuple[dict[str, str], bytes]]:
        if self._mode == "batched":
            kind = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
            for part in _parts([events.structured(record) for record in records]):
                yield kind, b"[" + b",".join(part) + b"]"
        elif self._mode == "structured":
            kind = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
            for record in records:
                yield kind, events.structured(record)
        else:
            for record in records:
                yield _binary_headers(record), events.data(record)

    def _post(self, headers: Mapping[str, str], body: bytes, deadline: float) -> None:
        """Until it is taken, refused, or the time is over."""
        pause = _FIRST_PAUSE_S
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise UnavailableError(f"{self._shown} did not take the records in time")
            problem, wait = self._try(headers, body, left)
            if not problem:
                return
            wait = max(wait, pause)
            if time.monotonic() + wait >= deadline:
                raise UnavailableError(f"{self._shown} did not take the records: {problem}")
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _try(self, headers: Mapping[str, str], body: bytes, left: float) -> tuple[str, float]:
        """Why it was not taken, or "", and how long the receiver wants us to wait."""
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=dict(headers),
                timeout=urllib3.Timeout(total=left),
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return type(error).__name__, 0.0
        if 200 <= answer.status < 300:
            return "", 0.0
        if answer.status == 429 or answer.status >= 500:
            return f"HTTP {answer.status}", _retry_after(answer.headers.get("Retry-After", ""))
        said = answer.data[:_LONGEST_WORD].decode(errors="replace")
        raise InvalidError(
            f"{self._shown} refuses the records: HTTP {answer.status}: {said}", field="url"
        )


def _binary_headers(record: Record) -> dict[str, str]:
    """Attributes as headers: percent-encoded where they are not printable ASCII."""
    found = events.attributes(record)
    kind = found.pop("datacontenttype")
    plain = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
    return {f"ce-{name}": quote(value, safe=plain) for name, value in found.items()} | {
        "Content-Type": kind
    }


def _parts(found: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Events in parts of about a megabyte."""
    part: list[bytes] = []
    size = 0
    for event in found:
        if part and size + len(event) > _BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event)
    if part:
        yield part


def _authorization(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"token_file: {path} cannot be read", field="token_file") from error
    if not token.isprintable() or not token.isascii():
        raise InvalidError("token_file: one line of ASCII is wanted", field="token_file")
    return {"Authorization": f"Bearer {token}"}


def _retry_after(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0
