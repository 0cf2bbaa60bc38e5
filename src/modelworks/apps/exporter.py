"""Composition root of an exporter: `python -m modelworks.apps.exporter --endpoint URL`.

Reads what a server tells it, one JSON document a line, and sends it on. Whoever is not there, or
slow, costs the server nothing: what does not fit is dropped here and counted.
"""

import argparse
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import IO, Final

from modelworks.core import codec
from modelworks.core.ecs import set_up_logs
from modelworks.core.errors import ModelworksError
from modelworks.core.spans import Exporter, Measured, Traced
from modelworks.plugins.load import load

_log = logging.getLogger("modelworks.exporter")
_BOUND: Final = 8192
_BATCH: Final = 512
_PERIOD_S: Final = 0.5
_SECONDS: Final = 10.0  # of one sending, repetitions included
_LAST_S: Final = 2.0
_TELL_S: Final = 60.0

Item = Traced | Measured


class Sender:
    """Takes items, and sends them in batches.

    Args:
        exporter: open.

    Attributes:
        dropped: items that nobody took.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._queue: queue.Queue[Item] = queue.Queue(_BOUND)
        self._told = time.monotonic() - _TELL_S
        self._over = threading.Event()
        self.dropped = 0

    def put(self, item: Item) -> None:
        """Take one; never waits."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def stop(self) -> None:
        """Send what is here, once, and end."""
        self._over.set()

    def run(self) -> None:
        """Until it is stopped and nothing is left."""
        while not self._over.wait(_PERIOD_S) or not self._queue.empty():
            items = self._take()
            traced = [item for item in items if isinstance(item, Traced)]
            newest = [item for item in items if isinstance(item, Measured)][-1:]
            if traced:
                self._told_of(len(traced), sent=self._exporter.spans(traced))
            for measured in newest:
                self._told_of(1, sent=self._exporter.metrics(measured))

    def _take(self) -> list[Item]:
        items: list[Item] = []
        while len(items) < _BATCH:
            try:
                items.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return items

    def _told_of(self, count: int, *, sent: bool) -> None:
        if sent:
            return
        self.dropped += count
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            _log.warning("%d traces and metrics were not taken by the collector", self.dropped)


def read_items(lines: IO[bytes], sender: Sender) -> None:
    """Hand over every line until there are no more."""
    for line in lines:
        try:
            told = json.loads(line)
            if "traced" in told:
                sender.put(codec.decode(Traced, told["traced"]))
            else:
                sender.put(_measured(told["measured"]))
        except (ValueError, KeyError, TypeError, ModelworksError):
            sender.dropped += 1


def _measured(told: dict[str, object]) -> Measured:
    return Measured(told["at"], told["started"], told["families"])  # type: ignore[arg-type]  # written by our own server


def main(arguments: Sequence[str] | None = None) -> int:
    """Send on until the input ends; the exit code."""
    set_up_logs("modelworks-exporter", os.environ, "%(levelname)s %(name)s: %(message)s")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it once a minute
    parser = argparse.ArgumentParser(prog="python -m modelworks.apps.exporter", allow_abbrev=False)
    parser.add_argument("--endpoint", required=True, help="of a collector, http://127.0.0.1:4318")
    parser.add_argument("--service", default="modelworks-server")
    parser.add_argument("--instance", default="")
    told = parser.parse_args(arguments)
    resource = {
        "service.name": told.service,
        "service.version": version("modelworks"),
        "service.instance.id": told.instance,
    }
    try:
        exporter: Exporter = load("exporters", "otel")()
        exporter.open(told.endpoint, {k: v for k, v in resource.items() if v}, _SECONDS)
    except ModelworksError as error:
        _log.error("%s", error.message)
        return 1
    sender = Sender(exporter)
    thread = threading.Thread(target=sender.run, name="sender", daemon=True)
    thread.start()
    read_items(sys.stdin.buffer, sender)
    sender.stop()
    thread.join(_LAST_S)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a sending that hangs is not waited for
