"""A roll-out among deployments: real servers, a gateway in front of them, live traffic."""

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from desk import Desk, until
from gateway_process import Gateway
from gateway_served import Upstream
from modelworks.control.rollouts.evidence import Earned
from modelworks.control.rollouts.kept import Kept
from modelworks.control.watching.sights.admins import Admins
from modelworks.control.watching.sights.gateways import Fronted
from modelworks.core import codec
from modelworks.core.deployment import Phase as Running
from modelworks.core.deployment import Replica
from modelworks.core.desired import State
from modelworks.core.plans import Status
from modelworks.core.rollouts import Direction, Kind, Metric, Phase, Plan, Rollout, Step, Strategy
from modelworks.core.routes import (
    BUCKETS,
    Arm,
    Breaker,
    Endpoint,
    Retries,
    Route,
    Snapshot,
    Span,
)
from shop_front import Callers, answers, given, told
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
ILL = b"HTTP/1.1 500 Ill\r\nContent-Length: 3\r\n\r\nill"


def planned(desk: Desk) -> tuple[dict[str, int], set[str]]:
    """The route's weights beside the manifest's, and what `apply` would do with deployments."""
    [*deployments, route] = desk.mw("plan", "--json").json["documents"]
    [change] = [one for one in route["changes"] if one["path"] == "spec.backends"]
    weights = {one["deployment"]: one["weight"] for one in change["before"]}
    return weights, {one["act"] for one in deployments}


def test_a_bad_deployment_is_rolled_back_and_a_good_one_promoted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    given(desk)
    try:
        with ExitStack() as stack:
            running = lambda *words: stack.enter_context(desk.running(*words)).said  # noqa: E731
            up = running("up", "--port", "0", "--control-port", "0")
            snapshot = f"{up['control']}/api/v1/routes/snapshot"
            gateway = running("gateway", "--snapshot", snapshot, "--port", "0", "--admin-port", "0")
            callers = Callers(gateway["url"])
            until("the gateway has the route", lambda: answers(gateway["url"]), 60)
            stack.enter_context(callers.asking())

            desk.mw("rollout", "start", "-f", "bad.yaml")
            desk.mw("delete", "--deployment", "bad", "--yes", code=5)
            until("bad goes back", lambda: told(up["control"], "bad")["ended_ns"], 90)
            bad = told(up["control"], "bad")
            assert bad["rollout"]["phase"] == "rolled back", bad["rollout"]["reason"]
            assert bad["rollout"]["verdict"]["findings"][0]["metric"] == "error_rate"
            assert set(callers.statuses) > {200}, callers.statuses
            assert 0 not in callers.statuses, callers.statuses

            until("bad gets nothing any more", lambda: callers.spared("2.0.0"))
            callers.statuses.clear()
            desk.mw("rollout", "start", "-f", "good.yaml")
            until("good is promoted", lambda: told(up["control"], "good")["settled"], 90)
            good = told(up["control"], "good")
            assert good["rollout"]["phase"] == "promoted", good["rollout"]["reason"]
            callers.versions.clear()
            until("good answers", lambda: callers.versions["3.0.0"] > 50)
            assert set(callers.versions) == {"3.0.0"}
        assert set(callers.statuses) == {200}, callers.statuses
        weights, acts = planned(desk)
        assert weights == {"old": 0, "bad": 0, "good": 100}
        assert acts == {"unchanged"}  # all of them run on
    finally:
        desk.mw("delete", "-f", "modelworks.yaml", "--yes")


def test_what_two_workers_counted_is_counted_once(tmp_path: Path) -> None:
    plan = Plan(
        "new-1",
        "shop",
        "old",
        ("new",),
        Strategy.CANARY,
        (Step(0.2), Step(1.0)),
        Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05),
    )
    kept = Kept(Rollout(plan, Phase.RUNNING))
    with Upstream() as old, Upstream(lambda asked: asked.sock.sendall(ILL)) as new:
        arms = (
            Arm("old", endpoints=(Endpoint(old.url),)),
            Arm("new", endpoints=(Endpoint(new.url),)),
        )
        spans = (Span(0, 8000, "old"), Span(8000, BUCKETS, "new"))
        route = Route("shop", arms, spans, retries=Retries(0), breaker=Breaker(0))
        file = tmp_path / "routes.json"
        file.write_text(json.dumps(codec.encode(Snapshot(1, (route, replace(route, name="b"))))))
        with Gateway(file, "--workers", "2") as gateway:
            admins = Admins(lambda: [gateway.admin, f"http://127.0.0.1:{free_port()}"])
            sight = Fronted(_ready, admins)
            until("all is well", lambda: not sight.unready(plan))
            assert "no route 'c'" in sight.unready(replace(plan, route="c"))
            [(_, text)] = admins.metrics(["shop"])
            assert 'route="b"' not in text
            earned = Earned(time.time_ns())
            earned.look("shop", sight.look([plan])(kept))
            for _ in range(200):
                with urllib3.PoolManager(retries=False, timeout=5) as pool:  # another worker, maybe
                    pool.request("GET", f"{gateway.url}/x", headers={"Connection": "close"})

            def requests() -> float:
                earned.look("shop", sight.look([plan])(kept))
                return sum(cells.get("requests", 0) for cells in earned.arms.values())

            until("all are counted", lambda: requests() == 200)
            for _ in range(20):
                assert requests() == 200
    assert earned.arms["new"]["errors"] == earned.arms["new"]["requests"]
    assert "errors" not in earned.arms["old"]


def _ready(name: str) -> Status:
    replicas = (Replica(f"{name}-1", 1, Running.READY),)
    return Status(name, "", "local", State.READY, "", "m:1.0.0", "", 1, 1, 1, replicas)
