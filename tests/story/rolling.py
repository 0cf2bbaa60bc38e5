"""The story's part on new versions: tried on what was asked before, drilled, moved on evidence."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3

from desk import Desk, until
from store_servers import free_port

_ROLLOUT = """
kind: Rollout
metadata: {name: trees-2}
spec:
  route: trees
  stable: 1.0.0
  candidate: 2.0.0
  steps: [{share: 30%, bake: 1s, sample: 30}, {share: 100%}]
  primary: {metric: error_rate, margin: 5pp}
  minimum_sample: 50
  max_duration: 5m
"""


def roll_out_on_evidence(desk: Desk) -> None:
    """A gateway in front, a second version behind it: replayed, then promoted under traffic."""
    desk.mw("import", "trees.json", "--name", "trees", "--version", "2.0.0")
    desk.mw("alias", "set", "trees@champion", "1.0.0")
    (desk.folder / "rollout.yaml").write_text(_ROLLOUT)
    assert desk.mw("why-not", "trees:2.0.0", "--json", code=9).json["ready"] is False
    words = ("up", "--port", "0", "--control-port", "0", "--record", "1")
    with desk.running(*words) as factory, _gateway(desk, factory.said["control"]) as url:
        callers = Callers(url, desk.notes["numbers"][:1].tolist())
        with callers.asking():
            until("the gateway answers", lambda: callers.answered > 100)
            until("there are records", lambda: _recorded(desk) > 50)
            told = desk.mw("replay", "trees:2.0.0", "--since", "1h", "--speed", "max", "--json")
            assert told.json["sent"] > 50
            desk.mw("rollout", "start", "-f", "rollout.yaml")
            desk.mw("rollout", "watch", "trees-2")
        assert callers.failed == [], (len(callers.failed), callers.failed[:5])
        last = desk.mw("rollout", "history", "trees-2", "--json").json[-1]
        assert last["phase"] == "promoted", last
        assert desk.mw("show", "trees@champion", "--json").json["ref"] == "trees:2.0.0"
        desk.mw("rollout", "report", "trees-2", "--html", "trees-2.html")
        assert "<svg" in (desk.folder / "trees-2.html").read_text()
        factory.drain()
    drilled = desk.mw("drill", "-f", "rollout.yaml", "--fault", "failing", "--json").json
    assert [one["passed"] for one in drilled["results"]] == [True], drilled


@contextmanager
def _gateway(desk: Desk, control: str) -> Iterator[str]:
    port = str(free_port())
    words = ("gateway", "--snapshot", f"{control}/api/v1/routes/snapshot", "--port", port)
    with desk.running(*words, "--admin-port", "0") as server:
        yield str(server.said["url"])
        server.drain()


@dataclass
class Callers:
    """One request after another, until the end."""

    url: str
    rows: list
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._ask, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join(30)

    def _ask(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=20)
        while not self.ended.wait(0.005):
            answer = pool.request("POST", f"{self.url}/predict/trees", json={"rows": self.rows})
            if answer.status == 200:
                self.answered += 1
            else:
                said = answer.data.decode(errors="replace")[:300]
                self.failed.append(f"{time.strftime('%X')} {answer.status} {said}")


def _recorded(desk: Desk) -> int:
    desk.mw("records", "compact")
    return sum(one["records"] for one in json.loads(desk.mw("records", "list", "--json").out))
