"""The story's part on new versions: tried on what was asked before, drilled, moved on evidence."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

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
        statuses: Counter[int] = Counter()
        with _asking(url, desk.notes["numbers"][:1].tolist(), statuses):
            until("the gateway answers", lambda: statuses[200] > 100)
            until("there are records", lambda: _recorded(desk) > 50)
            told = desk.mw("replay", "trees:2.0.0", "--since", "1h", "--speed", "max", "--json")
            assert told.json["sent"] > 50
            desk.mw("rollout", "start", "-f", "rollout.yaml")
            desk.mw("rollout", "watch", "trees-2")
        assert set(statuses) == {200}, statuses
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


@contextmanager
def _asking(url: str, rows: list, statuses: Counter[int]) -> Iterator[None]:
    """One request after another, until the end."""
    ended = threading.Event()

    def ask() -> None:
        pool = urllib3.PoolManager(retries=False, timeout=20)
        while not ended.wait(0.005):
            answer = pool.request("POST", f"{url}/predict/trees", json={"rows": rows})
            statuses[answer.status] += 1

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


def _recorded(desk: Desk) -> int:
    desk.mw("records", "compact")
    return sum(one["records"] for one in json.loads(desk.mw("records", "list", "--json").out))
