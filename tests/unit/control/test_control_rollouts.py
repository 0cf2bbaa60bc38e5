"""Roll-outs as they are kept and carried out: what is counted, judged, written, moved."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelworks.client.endpoints import register
from modelworks.control.rollouts import store
from modelworks.control.rollouts.evidence import Earned, Seen, restored
from modelworks.control.rollouts.grounds.ground import Among
from modelworks.control.rollouts.kept import Asked
from modelworks.control.rollouts.loaded import Loaded, carriers
from modelworks.control.rollouts.routes import read
from modelworks.control.service import Factory
from modelworks.control.watching import advancing
from modelworks.control.watching.advancing import GRACE_S, Advance
from modelworks.control.watching.asking import Server
from modelworks.control.watching.rollback import rollback
from modelworks.control.watching.sights.servers import Served
from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.core.errors import ConflictError, CorruptError, InvalidError, NotFoundError
from modelworks.core.home import Home
from modelworks.core.rollouts import Direction, Kind, Metric, Phase, Plan, Step, Strategy, Sums
from modelworks.core.routes import BUCKETS, Source
from modelworks.core.semver import Semver
from modelworks.monitor.alerts import acting
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit
ERRORS = Metric("error_rate", Kind.RATE, Direction.LOWER, margin=0.05)
SECOND = 10**9


class Clock:
    now = 1_800_000_000 * SECOND

    def __call__(self):
        return self.now

    @property
    def seconds(self):
        return self.now / SECOND

    def tick(self, seconds=1.0):
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A data folder with three versions of a model."""
    folder = tmp_path_factory.mktemp("published")
    with Factory(Home(folder / "home"), actor="ana", clock=Clock()) as factory:
        for version in ("1.0.0", "2.0.0", "3.0.0"):
            factory.publish(
                candidate(folder / version, version.encode(), version=Semver.parse(version))
            )
        factory.set_alias("fraud", "champion", "1.0.0")
    return folder / "home"


@pytest.fixture
def factory(tmp_path, published, clock):
    home = shutil.copytree(published, tmp_path / "home")
    with Factory(Home(home), actor="ana", clock=clock) as factory:
        yield factory


def plan(**fields):
    steps = (Step(0.2), Step(1.0))
    usual = {"name": "fraud-2", "route": "fraud", "stable": "1.0.0", "candidates": ("2.0.0",)}
    usual |= {"strategy": Strategy.CANARY, "steps": steps, "primary": ERRORS, "sample": 50}
    return Plan(**{**usual, "most_s": 600.0, **fields})


class Server1:
    """What one server counts."""

    def __init__(self):
        self.cells = {}
        self.began = 1_700_000_000.0
        self.loaded = True

    def serve(self, version, requests, errors=0):
        cells = self.cells.setdefault(version, [0, 0])
        cells[0] += requests
        cells[1] += errors

    def metrics(self):
        lines = [f"modelworks_start_time_seconds {self.began}"]
        for version, (requests, errors) in self.cells.items():
            pairs = f'model="fraud",version="{version}"'
            name = "modelworks_requests_total"
            lines.append(f'{name}{{{pairs},outcome="success"}} {requests - errors}')
            lines.append(f'{name}{{{pairs},outcome="failed"}} {errors}')
        return [(Server("http://here"), "\n".join(lines) + "\n")]


@pytest.fixture
def server():
    return Server1()


@pytest.fixture
def duty(factory, server):
    return Advance(factory.rollouts, sights(server), lambda *_: {})


def sights(server):
    return {Among.VERSIONS: Served(server.metrics, lambda _model, _version: server.loaded)}


class Worker:
    """Runs the duty second by second, with what it left."""

    def __init__(self, duty, clock):
        self.duty, self.clock, self.state = duty, clock, {}

    def tick(self, seconds=1):
        for _ in range(seconds):
            self.clock.tick()
            done = self.duty.run(self.clock.seconds, json.loads(json.dumps(self.state)))
            self.state = done.state
        return done.said


@pytest.fixture
def worker(duty, clock):
    return Worker(duty, clock)


def widths(factory):
    (route,) = read(factory.home.run / "routes.json").routes
    found = {arm.name: 0 for arm in route.arms}
    for span in route.spans:
        found[span.arm] += span.end - span.first
    return found


def champion(factory):
    return str(factory.show("fraud@champion").version)


def test_a_good_version_is_promoted_and_its_route_given_back(factory, server, worker):
    verbs = factory.rollouts
    verbs.start(plan(), Asked(Source.HEADER, "x-user"))
    assert widths(factory) == {"1.0.0": BUCKETS, "2.0.0": 0}
    assert str(factory.show("fraud@challenger").version) == "2.0.0"
    worker.tick()
    assert verbs.get("fraud-2").rollout.phase is Phase.RUNNING
    assert widths(factory) == {"1.0.0": 8000, "2.0.0": 2000}
    worker.tick()
    for _ in range(30):
        server.serve("1.0.0", 400)
        server.serve("2.0.0", 100)
        worker.tick()
    kept = verbs.get("fraud-2")
    assert kept.rollout.phase is Phase.PROMOTED, kept.rollout.reason
    assert champion(factory) == "1.0.0" or kept.settled
    worker.tick(int(GRACE_S) + 2)
    assert champion(factory) == "2.0.0"
    assert read(factory.home.run / "routes.json").routes == ()
    with pytest.raises(NotFoundError):
        factory.show("fraud@challenger")
    phases = [one.phase for one in verbs.history("fraud-2")]
    assert phases == [Phase.WAITING, Phase.RUNNING, Phase.PROMOTED]
    assert verbs.unfinished() == []


def test_a_failing_version_goes_back_within_a_few_dozen_requests(factory, server, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick(2)
    asked = 0
    while verbs.get("fraud-2").rollout.phase is Phase.RUNNING:
        server.serve("1.0.0", 40)
        server.serve("2.0.0", 10, 3)
        asked += 10
        assert asked < 100
        worker.tick()
    kept = verbs.get("fraud-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    assert widths(factory) == {"1.0.0": BUCKETS, "2.0.0": 0}
    assert kept.rollout.verdict.findings[0].metric == "error_rate"
    worker.tick(int(GRACE_S) + 2)
    assert champion(factory) == "1.0.0"


def test_harm_is_seen_while_the_last_step_bakes(factory, server, worker):
    verbs = factory.rollouts
    verbs.start(plan(steps=(Step(0.2), Step(1.0, bake_s=600.0)), most_s=3600.0))
    worker.tick(2)
    for _ in range(30):
        server.serve("1.0.0", 400)
        server.serve("2.0.0", 100)
        worker.tick()
    assert widths(factory) == {"1.0.0": 0, "2.0.0": BUCKETS}
    assert verbs.get("fraud-2").rollout.phase is Phase.RUNNING
    for _ in range(5):
        server.serve("2.0.0", 500, 150)
        worker.tick()
    assert verbs.get("fraud-2").rollout.phase is Phase.ROLLED_BACK
    assert widths(factory) == {"1.0.0": BUCKETS, "2.0.0": 0}


def test_nobody_asks_and_nothing_is_promoted(factory, worker, clock):
    verbs = factory.rollouts
    verbs.start(plan(most_s=30.0))
    worker.tick(40)
    kept = verbs.get("fraud-2")
    assert kept.rollout.phase is Phase.INCONCLUSIVE
    assert "no request" in kept.rollout.reason
    with pytest.raises(ConflictError, match="end it first"):
        verbs.start(plan(name="again"))
    verbs.promote("fraud-2", "I know better")
    worker.tick(int(GRACE_S) + 2)
    assert champion(factory) == "2.0.0"
    assert "ana, unproved: I know better" in verbs.history("fraud-2")[-1].sentence


def test_a_version_that_does_not_load_gets_no_request(factory, server, worker):
    server.loaded = False
    factory.rollouts.start(plan(most_s=20.0))
    worker.tick(10)
    kept = factory.rollouts.get("fraud-2")
    assert kept.rollout.phase is Phase.WAITING
    assert "fraud:1.0.0 is not loaded by every server" in kept.rollout.reason
    assert len(factory.rollouts.history("fraud-2")) == 1  # what is waited for is no event
    assert widths(factory) == {"1.0.0": BUCKETS, "2.0.0": 0}
    worker.tick(15)
    assert factory.rollouts.get("fraud-2").rollout.phase is Phase.ROLLED_BACK


def test_a_pause_judges_nothing_and_what_came_meanwhile_counts_after_it(factory, server, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick(2)
    verbs.pause("fraud-2", "lunch")
    server.serve("1.0.0", 400, 0)
    server.serve("2.0.0", 100, 100)
    worker.tick(3)
    assert verbs.get("fraud-2").rollout.phase is Phase.PAUSED
    assert widths(factory) == {"1.0.0": 8000, "2.0.0": 2000}
    with pytest.raises(ConflictError):
        verbs.pause("fraud-2")
    verbs.resume("fraud-2")
    worker.tick(3)
    assert verbs.get("fraud-2").rollout.phase is Phase.ROLLED_BACK  # the hundred are not forgotten
    with pytest.raises(ConflictError):
        verbs.resume("fraud-2")
    with pytest.raises(ConflictError):
        verbs.promote("fraud-2")


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"candidates": ("9.0.0",)}, NotFoundError, "9.0.0"),
        ({"candidates": ("1.0.0",)}, InvalidError, "stable arm"),
        ({"stable": "3.0.0"}, ConflictError, "answered by 1.0.0"),
        ({"route": "nobody"}, NotFoundError, "nobody"),
        ({"candidates": ("challenger",)}, InvalidError, "challenger"),
    ],
)
def test_what_cannot_be_started(factory, fields, error, said):
    with pytest.raises(error, match=said):
        factory.rollouts.start(plan(**fields))
    assert factory.rollouts.every() == []
    assert not (factory.home.run / "routes.json").exists()


def test_one_of_several_candidates_has_to_be_named(factory, worker):
    verbs = factory.rollouts
    several = {"strategy": Strategy.EXPERIMENT, "candidates": ("2.0.0", "3.0.0")}
    verbs.start(plan(**several, steps=(Step(0.5),), superiority=True))
    worker.tick()
    assert widths(factory) == {"1.0.0": 5000, "2.0.0": 2500, "3.0.0": 2500}
    with pytest.raises(InvalidError, match=r"one of 2\.0\.0, 3\.0\.0"):
        verbs.promote("fraud-2")
    verbs.promote("fraud-2", arm="3.0.0")
    worker.tick(int(GRACE_S) + 2)
    assert champion(factory) == "3.0.0"


def test_a_worker_killed_in_the_middle_repeats_itself(factory, server, duty, clock):
    """What it had counted and not kept is counted again, from the last look that was kept."""
    verbs = factory.rollouts
    verbs.start(plan())
    worker = Worker(duty, clock)
    worker.tick(2)
    state = json.loads(json.dumps(worker.state))
    server.serve("1.0.0", 400)
    server.serve("2.0.0", 100)
    duty.run(clock.seconds, state)  # killed: what it left is not kept
    again = duty.run(clock.seconds, state)
    assert again.state["fraud-2"]["arms"]["2.0.0"]["requests"] == 100


def test_a_worker_that_begins_writes_routes_that_are_gone(factory, server, worker, clock):
    factory.rollouts.start(plan())
    worker.tick(2)
    file = factory.home.run / "routes.json"
    file.unlink()
    worker.tick(2)
    assert not file.exists()  # it is not looked at every second
    again = Advance(factory.rollouts, sights(server), lambda *_: {})
    again.run(clock.seconds, worker.state)
    assert widths(factory) == {"1.0.0": 8000, "2.0.0": 2000}


def test_a_name_is_used_once(factory, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    verbs.abort("fraud-2")
    worker.tick(int(GRACE_S) + 2)
    with pytest.raises(ConflictError, match="another name"):
        verbs.start(plan())
    assert len(verbs.history("fraud-2")) == 2
    assert verbs.start(plan(name="fraud-2b")).rollout.phase is Phase.WAITING


def test_the_next_one_may_begin_before_the_last_one_is_settled(factory, worker):
    verbs = factory.rollouts
    verbs.start(plan())
    worker.tick()
    verbs.promote("fraud-2")
    verbs.start(plan(name="fraud-3", stable="2.0.0", candidates=("3.0.0",)))
    assert verbs.get("fraud-2").settled
    assert champion(factory) == "2.0.0"
    assert widths(factory) == {"2.0.0": BUCKETS, "3.0.0": 0}
    verbs.abort("fraud-3")
    verbs.start(plan(name="fraud-4", stable="2.0.0", candidates=("3.0.0",)))
    worker.tick(int(GRACE_S) + 2)
    assert widths(factory) == {"2.0.0": 8000, "3.0.0": 2000}
    assert str(factory.show("fraud@challenger").version) == "3.0.0"


def test_only_servers_that_follow_the_routes_are_asked(factory):
    register(factory.home, "fraud", "http://127.0.0.1:1", "serve", ("fraud",)).rename(
        factory.home.run / "endpoints" / "1.json"
    )
    assert carriers(factory.home) == []
    register(factory.home, "up", "http://127.0.0.1:2", "up", ())
    assert carriers(factory.home) == ["http://127.0.0.1:2"]
    assert not Loaded(lambda: carriers(factory.home))("fraud", "2.0.0")
    assert not Loaded(list)("fraud", "2.0.0")


def test_whether_a_version_is_loaded_is_asked_without_a_key():
    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/metrics" else 401)
            self.end_headers()
            for version, ready in (("1.0.0", 1), ("2.0.0", 0)):
                labels = f'model="fraud",version="{version}"'
                self.wfile.write(f"modelworks_model_ready{{{labels}}} {ready}\n".encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    loaded = Loaded(lambda: [url])
    assert [loaded("fraud", version) for version in ("1.0.0", "2.0.0", "3.0.0")] == [
        True,
        False,
        False,
    ]
    assert not loaded("other", "1.0.0")
    assert not Loaded(lambda: [url, "http://127.0.0.1:2"])("fraud", "1.0.0")
    server.shutdown()
    server.server_close()


def test_every_act_is_audited(factory):
    factory.rollouts.start(plan())
    factory.rollouts.abort("fraud-2", "wrong file")
    acts = [(one.act, one.actor) for one in factory.deploying.audited("rollout/fraud-2")]
    assert acts == [("abort", "ana"), ("start", "ana")]


def test_an_alert_rolls_back_its_models_roll_out_once(factory):
    verbs = factory.rollouts
    verbs.start(plan())
    call = rollback(factory.watched)
    labels = {"model": "fraud", "version": "2.0.0"}
    alert = Alert("Slow", labels, AlertState.FIRING, Severity.CRITICAL, 9.0, "p99 is 9 s", 1)
    assert call(acting.Asked("1", alert, {})) == "rolled back: fraud-2"
    kept = verbs.get("fraud-2")
    assert kept.rollout.phase is Phase.ROLLED_BACK
    assert "the alert 'Slow' fired: p99 is 9 s" in kept.rollout.reason
    assert "nothing was rolled back" in call(acting.Asked("2", alert, {}))
    assert "names a model" in call(
        acting.Asked("3", Alert("x", {}, AlertState.FIRING, Severity.INFO, 1.0, "", 1), {})
    )


def test_a_damaged_file_of_routes_is_told_and_left(factory):
    path = factory.home.run / "routes.json"
    path.write_text('{"generation": 1, "routes": [{}]}')
    with pytest.raises(CorruptError, match=r"routes\.json"):
        factory.rollouts.carry_out()
    assert path.read_text() == '{"generation": 1, "routes": [{}]}'


def seen(started=100.0, **requests):
    cells = {("fraud", v, "requests", ""): float(n) for v, n in requests.items()}
    return Seen("http://here", started, cells)


def test_only_what_came_since_the_step_counts():
    earned = Earned(since_ns=1000 * SECOND)
    earned.look("fraud", [seen(v1=500)])  # from before the step: from now on
    assert earned.arms == {}
    earned.look("fraud", [seen(v1=520, v2=3)])
    earned.look("fraud", [])  # it does not answer for a while
    earned.look("fraud", [seen(v1=530, v2=5)])
    assert earned.arms == {"v1": {"requests": 30.0}, "v2": {"requests": 5.0}}
    earned.look("fraud", [seen(started=1001.0, v1=7)])  # another process in its place
    assert earned.arms["v1"] == {"requests": 37.0}
    assert restored(earned.document(), 1000 * SECOND).arms == earned.arms
    assert restored(earned.document(), 2000 * SECOND).arms == {}


def test_a_worker_of_a_gateway_that_knows_less_takes_nothing_back():
    earned = Earned(since_ns=10 * SECOND)
    for told in (10, 20, 15, 25):
        earned.look("fraud", [seen(started=11.0, v1=told)])
    assert earned.arms == {"v1": {"requests": 25.0}}


def test_errors_and_latencies_as_the_rules_want_them():
    earned = Earned(0)
    cells = {"requests": 100.0, "errors": 4.0, "rejected": 20.0, "invalid": 6.0}
    earned.arms["1.0.0"] = {**cells, "le 0.001": 70.0, "le 0.5": 10.0}
    slow = Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, margin=1.0)
    told = earned.evidence(plan(guardrails=(slow,)), {"1.0.0": 1.0}, 5)
    stable, candidate_ = told.arms
    assert (stable.requests, candidate_.requests) == (100, 0)
    assert stable.metrics["error_rate"] == Sums(count=80, total=10.0)
    assert stable.metrics["latency_p99_ms"] == Sums(count=80, buckets={"1.0": 70, "500.0": 10})


def test_reading_records_never_holds_up_what_servers_count(factory, server, clock, monkeypatch):
    """Where the time of a look is over nothing is read, and roll-outs are judged all the same."""
    asked = []

    def gather(of, since_ns, until_ns):
        asked.append(of.name)
        return {}

    duty = Advance(factory.rollouts, sights(server), gather)
    worker = Worker(duty, clock)
    factory.rollouts.start(plan())
    worker.tick(3)
    assert asked == ["fraud-2"]  # it is read for four times a minute, not every second
    monkeypatch.setattr(advancing, "_FURTHER_S", 0.0)
    worker.tick()
    assert len(asked) == 2
    monkeypatch.setattr(advancing, "_READING_S", -1.0)
    worker.tick()
    assert len(asked) == 2
    assert factory.rollouts.get("fraud-2").seen == clock.now


def test_what_is_over_is_not_read_every_second(factory, worker, monkeypatch):
    verbs = factory.rollouts
    for name in ("one", "two", "three"):
        verbs.start(plan(name=name))
        verbs.abort(name)
        assert [one.rollout.plan.name for one in verbs.unfinished()] == [name]
        worker.tick(int(GRACE_S) + 2)
    read = []
    monkeypatch.setattr(store, "_kept", lambda row: read.append(row.name))
    assert verbs.unfinished() == []
    assert read == []  # the database passes them over
    monkeypatch.undo()
    assert len(verbs.every()) == 3
