"""A served model, its records, the watch over them, and a clock that a test lets pass."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from desk import HTTP, Desk, until
from modelworks.control.service import Factory
from modelworks.control.watching.drifting import Drift
from modelworks.control.watching.duty import LATE_S
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.records import Batch, Part, Scan
from modelworks.core.seams import RecordStore
from modelworks.monitor.series.sketches import SketchStore

MINUTE, HOUR = 60, 3600


class Clock:
    """UTC, and what the test has let pass."""

    passed = 0

    def __call__(self) -> int:
        return now_ns() + self.passed * 10**9


@dataclass
class Later:
    """What lies in a store from an instant on."""

    store: RecordStore
    since_ns: int

    def _from(self, wanted: Scan) -> Scan:
        return replace(wanted, since_ns=max(wanted.since_ns, self.since_ns))

    def parts(self, wanted: Scan) -> Sequence[Part]:
        return self.store.parts(self._from(wanted))

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        return self.store.scan(self._from(wanted), columns)


@dataclass
class Station:
    """What a test of the watch has at hand."""

    desk: Desk
    factory: Factory
    clock: Clock
    model: str
    url: str

    def ask(self, rows: Sequence[Mapping[str, Any]], at_once: int = 20) -> None:
        """Requests of plain rows."""
        for start in range(0, len(rows), at_once):
            body = {"rows": rows[start : start + at_once]}
            answer = HTTP.request("POST", f"{self.url}/predict/{self.model}", json=body)
            assert answer.status == 200, answer.data

    def stored(self) -> None:
        """Wait until what was recorded lies in the store."""
        segments = self.desk.folder / "home" / "records" / "segments"

        def gone() -> bool:
            self.desk.mw("records", "compact")
            return not [*segments.iterdir()]

        until("what was recorded is in the store", gone, 60)

    def evidence(self, since: float) -> dict[str, float]:
        """What the hourly duty finds of an hour that ends now, and in which nobody asked before."""
        store = Later(self.factory.records.store, int(since * 1e9))
        find = self.factory.watching.references.find
        duty = Drift(lambda: store, find, SketchStore(self.factory._scope))
        end = (since // HOUR + 1) * HOUR
        return {
            one.labels["feature"]: one.values[-1]
            for one in duty.run(end + LATE_S + 1, {}).series
            if one.labels.get("method") == "evidence"
        }

    def windows(self, feature: str) -> dict[float, float]:
        """Jensen-Shannon distances of the minutes that were looked at, by their ends."""
        now = self.clock() / 1e9
        wanted = {"model": self.model, "feature": feature, "method": "js"}
        [*found] = self.factory.watching.series.select("drift", wanted, now - HOUR, now)
        return dict(zip(found[0].times, found[0].values, strict=True)) if found else {}

    def window(self, end: float, feature: str) -> float:
        """The distance in the minute that ended then; time passes until it was looked at."""
        passed = int(end + LATE_S + 1 - self.clock() / 1e9)
        self.clock.passed += max(0, passed)
        until(f"{feature} is looked at", lambda: end in self.windows(feature), 60)
        return self.windows(feature)[end]

    def alerts(self) -> set[str]:
        """Features that an alert fires for."""
        return {
            dict(one.labels)["feature"]
            for one in self.factory.watching.alerts()
            if one.state.value == "firing"
        }


def next_minute() -> float:
    """Wait for it, and for a moment in it; its end."""
    now = time.time()
    time.sleep(MINUTE - now % MINUTE + 0.5)
    return now // MINUTE * MINUTE + 2 * MINUTE


@contextmanager
def station(
    desk: Desk, model: str, policy: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]
) -> Iterator[Station]:
    """Serve a model that was imported, with a policy of its records, under rules."""
    spec = {"kind": "AlertRules", "metadata": {"name": model}, "spec": {"rules": [*rules]}}
    (desk.folder / "rules.yaml").write_text(yaml.safe_dump(spec))
    desk.mw("alerts", "rules", "apply", "-f", "rules.yaml")
    (desk.folder / "policy.json").write_text(json.dumps(policy))
    recorded = ("--record", "1.0", "--record-policy", "policy.json")
    with ExitStack() as stack:
        server = stack.enter_context(desk.running("serve", model, "--port", "0", *recorded))
        clock = Clock()
        home = Home(Path(desk.folder / "home"))
        factory = stack.enter_context(Factory(home, clock=clock))
        yield Station(desk, factory, clock, model, server.said["url"])


@contextmanager
def worker(found: Station) -> Iterator[None]:
    """The worker's loop, with windows of a minute."""
    runner = found.factory.watching.runner(found.factory.watched, MINUTE)
    runner.start()
    try:
        yield
    finally:
        runner.close()
