"""Roll-outs among deployments: a route of the manifest, gateways that count, weights at the end."""

import copy
import json
import shutil
from dataclasses import replace

import pytest
import yaml

from memory_target import MemoryTarget, Place, RoutingTarget
from modelworks.control.deploying import targets
from modelworks.control.front.composed import Deployed, Own, compose
from modelworks.control.rollouts.grounds import deployments
from modelworks.control.rollouts.grounds.ground import Among
from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.control.service import Factory
from modelworks.control.watching.advancing import GRACE_S, Advance
from modelworks.control.watching.rollback import rollback
from modelworks.control.watching.sights.gateways import Fronted
from modelworks.core import codec
from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.core.desired import State
from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    UnsupportedError,
)
from modelworks.core.home import Home
from modelworks.core.rollouts import Direction, Kind, Metric, Phase, Plan, Rollout, Step, Strategy
from modelworks.core.routes import BUCKETS, Shadow, Source
from modelworks.deploy import reconcile
from modelworks.deploy.routes import Routes
from modelworks.gateway.counts import Counts
from modelworks.gateway.metrics import counted
from modelworks.monitor.alerts import acting
from modelworks.plugins import load
from modelworks.protocol.openmetrics import write_text
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
SECOND = 10**9
DEPLOYED = {name: Deployed("fraud") for name in ("old", "new")}


class Clock:
    now = 1_800_000_000 * SECOND

    def __call__(self):
        return self.now


class Gateway:
    """What one gateway counts and tells, in its own numbers and its own text."""

    def __init__(self):
        self.counts = Counts()
        self.began = 1_700_000_000.0
        self.arms = ["old", "new"]
        self.ready = {"old": True, "new": True}
        self.there = True

    def serve(self, arm, requests, errors=0, status=500, copies=False):
        of = self.counts.route("shop").arm(arm)
        of.copies += requests if copies else 0
        into = of.copied if copies else of
        for number in range(requests):
            into.answered(status if number < errors else 200, 3_000_000)

    def metrics(self, routes):
        text = write_text(counted(self.counts.of(routes), self.began)).decode()
        return [("http://gate:1", text)] if self.there else []

    def states(self):
        arms = {name: [{"url": f"http://{name}"}] for name in self.arms}
        ends = [{"url": f"http://{name}", "ready": ready} for name, ready in self.ready.items()]
        state = {"routes": [{"name": "shop", "arms": arms}], "endpoints": ends}
        return [("http://gate:1", json.loads(json.dumps(state)))] if self.there else []


def within(monkeypatch, place):
    """Targets that live in memory."""
    known = load.load
    kinds = {"memory": MemoryTarget, "routing": RoutingTarget}
    made = lambda group, name: (  # noqa: E731 - as the loader is called
        (lambda: kinds[name](place)) if name in kinds else known(group, name)
    )
    monkeypatch.setattr(targets.load, "load", made)
    monkeypatch.setattr(reconcile.RealClock, "sleep", lambda _self, _seconds: None)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A data folder with two deployments and their route, and what runs for it."""
    folder, place = tmp_path_factory.mktemp("deployed"), Place()
    home = Home(folder / "home")
    with pytest.MonkeyPatch.context() as patched, Factory(home, clock=Clock()) as factory:
        within(patched, place)
        for content in (b"one", b"two"):
            factory.publish(candidate(folder / "work", content, "fraud"))
        apply(factory, deployment("old", "1.0.0"), deployment("new", "1.1.0"), route())
    return home.root, place


@pytest.fixture
def place(deployed, monkeypatch):
    found = copy.deepcopy(deployed[1])
    within(monkeypatch, found)
    return found


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def factory(tmp_path, deployed, place, clock):
    home = shutil.copytree(deployed[0], tmp_path / "home")
    with Factory(Home(home), actor="ana", clock=clock) as factory:
        yield factory


def deployment(name, version, **spec):
    spec = {"model": f"fraud:{version}", "target": "memory", **spec}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def route(old=100, new=0, **spec):
    backends = [{"deployment": "old", "weight": old}, {"deployment": "new", "weight": new}]
    return {"kind": "Route", "metadata": {"name": "shop"}, "spec": {"backends": backends, **spec}}


def apply(factory, *documents):
    text = "---\n".join(yaml.safe_dump({"apiVersion": "modelworks/v1", **one}) for one in documents)
    done = factory.deploying.apply([("m.yaml", text.encode())], "", lambda _: None)
    assert {one.state for one in done} == {State.READY}, done


def plan(**fields):
    usual = {"name": "shop-2", "route": "shop", "stable": "old", "candidates": ("new",)}
    usual |= {"strategy": Strategy.CANARY, "steps": (Step(0.2), Step(1.0)), "primary": ERRORS}
    return Plan(**{**usual, "sample": 50, "most_s": 600.0, **fields})


class Worker:
    """Runs the duty second by second, with what it left."""

    def __init__(self, factory, gateway, clock):
        sights = {Among.DEPLOYMENTS: Fronted(factory.deploying.one, gateway)}
        self.duty = Advance(factory.rollouts, sights, lambda *_: {})
        self.clock, self.state = clock, {}

    def tick(self, seconds=1):
        for _ in range(seconds):
            self.clock.now += SECOND
            done = self.duty.run(self.clock.now / SECOND, json.loads(json.dumps(self.state)))
            assert not done.said
            self.state = done.state


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def worker(factory, gateway, clock):
    return Worker(factory, gateway, clock)


def composed(factory, before=()):
    """The route as gateways get it."""
    held = factory.rollouts.unfinished()
    (made,) = compose(Own(), factory.deploying.routes(), DEPLOYED, held, before)
    return made


def widths(factory):
    found = dict.fromkeys(("old", "new"), 0)
    for span in composed(factory).spans:
        found[span.arm] += span.end - span.first
    return found


def weights(factory):
    (kept,) = factory.deploying.routes()
    return {one["deployment"]: one["weight"] for one in kept.document["spec"]["backends"]}


def test_a_good_deployment_is_promoted_and_the_routes_weights_are_its(
    factory, gateway, worker, place
):
    verbs = factory.rollouts
    verbs.start(plan())
    assert widths(factory) == {"old": BUCKETS, "new": 0}
    worker.tick(2)
    assert widths(factory) == {"old": 8000, "new": 2000}
    for _ in range(30):
        gateway.serve("old", 400)
        gateway.serve("new", 100)
        worker.tick()
    kept = verbs.get("shop-2")
    assert kept.rollout.phase is Phase.PROMOTED, kept.rollout.reason
    worker.tick(int(GRACE_S) + 2)
    assert verbs.unfinished() == []
    assert weights(factory) == {"old": 0, "new": 100}
    assert widths(factory) == {"old": 0, "new": BUCKETS}
    assert {len(place.running[name]) for name in ("old", "new")} == {1}  # nothing is scaled down
    (act, *_) = factory.deploying.audited("route/shop")
    assert (act.act, act.detail["weights"]) == ("promote", {"new": 100})
    assert "shop-2" in act.detail["reason"]
    (again,) = factory.deploying.plan(
        [("m.yaml", yaml.safe_dump(named(route())).encode())]
    ).documents
    assert [one.path for one in again.changes] == ["spec.backends"]


def named(document):
    return {"apiVersion": "modelworks/v1", **document}


@pytest.mark.parametrize("lost", ["answers", "fallback", "refused", "cut"])
def test_a_failing_deployment_goes_back_however_it_fails(factory, gateway, worker, lost):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick(2)
    asked = 0
    while verbs.get("shop-2").rollout.phase is Phase.RUNNING:
        gateway.serve("old", 40)
        if lost == "answers":
            gateway.serve("new", 10, 3)
        else:
            gateway.serve("new", 10 if lost == "cut" else 7)
            gateway.counts.route("shop").arm("new").lost[lost] += 3
        if lost == "fallback":  # the stable arm answers in its place
            gateway.serve("old", 3)
            gateway.counts.route("shop").fallbacks += 3
        asked += 10
        assert asked < 100
        worker.tick()
    kept = verbs.get("shop-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    finding = kept.rollout.verdict.findings[0]
    assert (finding.metric, finding.candidate, finding.stable) == ("error_rate", 0.3, 0.0)
    assert widths(factory) == {"old": BUCKETS, "new": 0}
    worker.tick(int(GRACE_S) + 2)
    assert weights(factory) == {"old": 100, "new": 0}


def test_a_slow_deployment_goes_back(factory, gateway, worker):
    slow = Metric(
        "latency_p50_ms", Kind.QUANTILE, Direction.LOWER, 0.5, relative=True, quantile=0.5
    )
    factory.rollouts.start(plan(guardrails=(slow,), sample=100_000))
    worker.tick(2)
    for _ in range(30):
        gateway.serve("old", 80)
        for _ in range(20):
            gateway.counts.route("shop").arm("new").answered(200, 30_000_000)
        worker.tick()
    kept = factory.rollouts.get("shop-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    assert kept.rollout.verdict.findings[0].metric == "latency_p50_ms"


def test_a_step_without_traffic_is_judged_on_copies(factory, gateway, worker):
    verbs = factory.rollouts
    verbs.start(plan(steps=(Step(0.0, sample=40), Step(1.0))))
    assert composed(factory).shadows == ()
    worker.tick(2)
    assert composed(factory).shadows == (Shadow("new"),)
    for _ in range(4):
        gateway.serve("old", 50)
        gateway.serve("new", 50, 15, copies=True)
        worker.tick()
    kept = verbs.get("shop-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK, kept.rollout.reason
    assert composed(factory).shadows == ()


def test_copies_that_are_answered_well_promote(factory, gateway, worker):
    factory.rollouts.start(plan(steps=(Step(0.0, sample=40), Step(1.0))))
    worker.tick(2)
    for _ in range(30):
        gateway.serve("old", 100)
        gateway.serve("new", 100, copies=True)
        worker.tick()
    assert factory.rollouts.get("shop-2").rollout.phase is Phase.PROMOTED


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda gateway, place: setattr(gateway, "there", False), "no gateway answers"),
        (lambda gateway, place: gateway.arms.remove("new"), "does not know 'new' yet"),
        (lambda gateway, place: gateway.ready.update(new=False), "reaches nobody of 'new'"),
        (lambda gateway, place: place.running["new"].clear(), "0 of 1 replicas are ready"),
        (lambda gateway, place: setattr(place, "down", True), "cannot be seen"),
    ],
)
def test_nothing_moves_before_every_arm_is_up_and_known_to_gateways(
    factory, gateway, worker, place, spoil, said
):
    spoil(gateway, place)
    factory.rollouts.start(plan(most_s=4.0))
    worker.tick(2)
    kept = factory.rollouts.get("shop-2")
    assert kept.rollout.phase is Phase.WAITING
    assert said in kept.rollout.reason
    worker.tick(4)
    kept = factory.rollouts.get("shop-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    assert said in kept.rollout.reason


def test_a_gateway_that_begins_anew_counts_on(factory, gateway, worker, clock):
    factory.rollouts.start(plan(sample=100_000))
    worker.tick(2)
    gateway.serve("new", 10)
    worker.tick()
    gateway.counts, gateway.began = Counts(), clock.now / SECOND
    gateway.serve("new", 7)
    worker.tick()
    gateway.there = False
    worker.tick()
    gateway.there = True
    gateway.serve("new", 1)
    worker.tick()
    assert worker.state["shop-2"]["arms"]["new"]["requests"] == 18


DRIFT = Metric("drift", Kind.GIVEN, Direction.LOWER, 0.1, absolute=True)
REFUSED = [
    ({"route": "nowhere"}, NotFoundError, "kind: Route"),
    ({"stable": "new", "candidates": ("old",)}, ConflictError, "gives old 100, new 0"),
    ({"candidates": ("third",)}, ConflictError, "add {deployment: third, weight: 0}"),
    ({"slices": ("country=de",)}, InvalidError, "look into no request"),
    ({"guardrails": (DRIFT,)}, InvalidError, r"guardrails\[0\].*'drift' would never be known"),
]


def test_what_cannot_be_started(factory):
    for fields, error, said in REFUSED:
        with pytest.raises(error, match=said):
            factory.rollouts.start(plan(**fields))
    assert factory.rollouts.every() == []


def test_a_route_that_its_target_carries_is_no_business_of_ours(factory):
    there = {"kind": "Route", "metadata": {"name": "theirs"}}
    there["spec"] = {"backends": [{"deployment": "far", "weight": 100}]}
    apply(factory, deployment("far", "1.0.0", target="routing"), there)
    with pytest.raises(UnsupportedError, match="carried by routing"):
        factory.rollouts.start(plan(route="theirs", stable="far"))


def test_a_worker_killed_at_the_end_does_it_once_more_and_once_only(factory, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick()
    verbs.promote("shop-2")
    deployments.Deployments(Routes(factory._scope)).settle(verbs.get("shop-2"))  # then: killed
    assert weights(factory) == {"old": 0, "new": 100}
    generation = factory.deploying.routes()[0].generation
    worker.tick(int(GRACE_S) + 2)
    assert verbs.get("shop-2").settled
    assert factory.deploying.routes()[0].generation == generation
    acts = [one.act for one in factory.deploying.audited("route/shop")]
    assert acts.count("promote") == 1


def test_a_route_that_is_gone_at_the_end_is_no_harm(factory, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick()
    verbs.promote("shop-2")
    Routes(factory._scope).gone("shop")
    worker.tick(int(GRACE_S) + 2)
    assert verbs.get("shop-2").settled


def test_a_row_of_yesterday_is_read():
    """As the version before wrote it: without what has come since."""
    document = codec.encode(Kept(Rollout(plan())))
    del document["copies"]
    assert codec.decode(Kept, document, "row").rollout.plan == plan()


def test_callers_are_parted_as_the_manifest_says(factory):
    with pytest.raises(InvalidError, match=r"spec\.sticky"):
        factory.rollouts.start(plan(), Asked(Source.HEADER, "x-user"))
    apply(factory, route(sticky={"header": "X-User"}))
    asked = factory.rollouts.start(plan()).asked
    assert (asked.source, asked.key) == (Source.HEADER, "x-user")
    made = composed(factory)
    assert made.sticky is not None
    assert made.sticky.name == "x-user"


def test_what_a_roll_out_compares_stays_as_it_is(factory, worker):
    factory.rollouts.start(plan())
    with pytest.raises(ConflictError, match="rollout abort shop-2"):
        apply(factory, route(50, 50))
    with pytest.raises(ConflictError, match="compares deployment 'new'"):
        apply(factory, deployment("new", "1.0.0"))
    with pytest.raises(ConflictError, match="moves the traffic"):
        factory.deploying.delete_route("shop")
    for name in ("old", "new"):
        with pytest.raises(ConflictError, match="compares deployment"):
            factory.deploying.delete(name, lambda _: None)
    with pytest.raises(ConflictError, match="compares deployment"):
        factory.deploying.roll_back("old", 1, lambda _: None)
    apply(factory, deployment("new", "1.1.0", replicas=2), route())  # other numbers are no harm
    factory.rollouts.abort("shop-2")
    apply(factory, route(50, 50))
    assert weights(factory) == {"old": 50, "new": 50}


def test_who_was_promoted_is_waited_for(factory, worker):
    factory.rollouts.start(plan())
    worker.tick()
    factory.rollouts.promote("shop-2")
    with pytest.raises(ConflictError, match="within seconds"):
        apply(factory, route(50, 50))
    worker.tick(int(GRACE_S) + 2)
    assert weights(factory) == {"old": 0, "new": 100}
    apply(factory, route(50, 50))


def test_an_alert_about_a_candidate_sends_it_back(factory):
    factory.rollouts.start(plan())
    call = rollback(factory.watched)

    def alert(**labels):
        return Alert("Slow", labels, AlertState.FIRING, Severity.CRITICAL, 9.0, "p99 is 9 s", 1)

    assert "nothing was" in call(acting.Asked("1", alert(model="fraud", deployment="old"), {}))
    assert call(acting.Asked("2", alert(deployment="new"), {})) == "rolled back: shop-2"
    assert factory.rollouts.get("shop-2").rollout.phase is Phase.ROLLED_BACK


def test_a_model_and_a_route_of_one_name_roll_out_side_by_side(factory):
    factory.set_alias("fraud", "champion", "1.0.0")
    verbs = factory.rollouts
    versions = replace(plan(), name="fraud-2", route="fraud", stable="1.0.0", candidates=("1.1.0",))
    verbs.start(versions)
    document = route()
    document["metadata"] = {"name": "fraud"}
    apply(factory, document)
    verbs.start(replace(plan(), name="fraud-3", route="fraud"))
    with pytest.raises(ConflictError, match="'fraud-3'"):
        verbs.start(replace(plan(), name="fraud-4", route="fraud"))
    held = verbs.unfinished()
    for rollouts in (held, held[::-1]):
        found = compose(Own(), factory.deploying.routes(), DEPLOYED, rollouts)
        assert {one.name: one.salt for one in found} == {"fraud": "fraud-3", "shop": "shop"}
    text = (factory.home.run / "routes.json").read_text()
    assert "1.1.0" in text
    assert '"new"' not in text
