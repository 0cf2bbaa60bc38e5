"""Sends what waits in a spool; whenever it ends, at most one batch comes twice, none is lost."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelworks.control.forwarding.spools import Spool
from modelworks.core.errors import InvalidError
from modelworks.core.seams import OpenSink
from modelworks.protocol.records import read_segment, sealed_segments
from modelworks.protocol.records.segments import recover

BATCH: Final = 500


class Forwarder:
    """Sends one receiver's records. Its caller holds the spool's lock.

    Args:
        spool: of the receiver.
        segments: where loggers write; None = only what is in the spool.
        sink: of the receiver.
        batch: records that are handed over together.
        told: called with the number of records after each batch that was taken.
    """

    def __init__(
        self,
        spool: Spool,
        segments: Path | None,
        sink: OpenSink,
        batch: int = BATCH,
        told: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._spool = spool
        self._segments = segments
        self._sink = sink
        self._batch = batch
        self._told = told

    def run(self, seconds: float = math.inf) -> int:
        """Send everything that is closed; how many records were taken.

        Args:
            seconds: after which no further batch is begun: the rest waits for the next run.

        Raises:
            InvalidError: the receiver refuses some, and would again.
            UnavailableError: it does not take them now; what it took is not sent again.
        """
        until = time.monotonic() + seconds
        if self._segments is not None:
            recover(self._segments)
            for path in sealed_segments(self._segments):
                self._spool.take(path)
        return sum(self._send(path, until) for path in self._spool.waiting())

    def _send(self, path: Path, until: float) -> int:
        if time.monotonic() >= until:
            return 0
        try:
            size = path.stat().st_size
            records = list(read_segment(path))
        except FileNotFoundError:  # dropped meanwhile
            return 0
        state = self._spool.state()
        if (state.segment, state.size) != (path.name, size):
            state = replace(state, segment=path.name, size=size, sent=0)
        begun = state.sent
        for at in range(begun, len(records), self._batch):
            if time.monotonic() >= until:
                return at - begun
            part = records[at : at + self._batch]
            self._sink.send(part)
            state = replace(state, sent=at + len(part), records=state.records + len(part))
            self._spool.note(state)
            self._told(len(part))
        self._finish(path)
        return len(records) - begun

    def _finish(self, path: Path) -> None:
        """Noted as done first: who links it again meanwhile is told."""
        state = self._spool.state()
        here = {one.name for one in sealed_segments(self._segments)} if self._segments else set()
        done = tuple(name for name in state.done if name in here)
        self._spool.note(replace(state, segment="", size=0, sent=0, done=(*done, path.name)))
        with suppress(FileNotFoundError):
            path.unlink()


def receiver_of(url: str) -> tuple[str, dict[str, str]]:
    """The sink of a URL, and its settings.

    Args:
        url: `https://HOST/PATH` (CloudEvents), `nats://HOST:PORT/SUBJECT`, `kafka://HOST:PORT/TOPIC`.

    Raises:
        InvalidError: another form.
    """
    found = urlsplit(url)
    rest = found.path.strip("/")
    if found.scheme in {"http", "https"} and found.netloc:
        return "cloudevents", {"url": url}
    if found.scheme in {"nats", "tls"} and found.netloc:
        return "nats", {"url": f"{found.scheme}://{found.netloc}", **_named("subject", rest)}
    if found.scheme == "kafka" and found.netloc:
        return "kafka", {"brokers": found.netloc, **_named("topic", rest)}
    raise InvalidError(
        "--to: https://HOST/PATH, nats://HOST:PORT/SUBJECT or kafka://HOST:PORT/TOPIC is wanted",
        field="to",
    )


def _named(name: str, value: str) -> dict[str, str]:
    return {name: value} if value else {}
