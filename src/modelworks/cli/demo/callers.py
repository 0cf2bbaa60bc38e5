"""Callers that never pause, for the demo's steps that change something under them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelworks.core.errors import ModelworksError
from modelworks.measure.exchange import exchange
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target


@dataclass
class Callers:
    """One after the other, each on a connection of its own.

    Attributes:
        url: of the prediction.
        row: of every request.
        pause_s: between two of them.
        versions: that answered, and how often.
        failed: what went wrong.
    """

    url: str
    row: object
    pause_s: float = 0.0
    versions: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Meanwhile they ask."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(timeout=30)

    @property
    def told(self) -> str:
        """What came of it, for people."""
        said = ", ".join(f"{count} by {version}" for version, count in self.versions.items())
        return f"answered: {said}; failed: {len(self.failed)}"

    def _run(self) -> None:
        target = parse_target(self.url)
        wire = request_bytes(target, Body(json.dumps({"rows": [self.row]}).encode()))
        while not self._over.wait(self.pause_s):
            try:
                answer = exchange(target, wire, 30.0)
                version = json.loads(answer.body)["version"] if answer.good else ""
            except (ModelworksError, ValueError, KeyError) as error:
                self.failed.append(str(error))
                continue
            if version:
                self.versions[version] = self.versions.get(version, 0) + 1
            else:
                self.failed.append(f"status {answer.status}")
