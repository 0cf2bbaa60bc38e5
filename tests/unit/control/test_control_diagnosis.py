"""Simulated incidents, one a cause: it is named first; and of a calm history nothing is said."""

import random

import pytest

from modelworks.control.watching.diagnosis import hypotheses
from modelworks.control.watching.diagnosis.asking import ask
from modelworks.control.watching.diagnosis.hypotheses import LIKELY
from modelworks.core.alerts import Alert, AlertState, Severity
from modelworks.core.desired import Event
from modelworks.core.errors import NotFoundError
from modelworks.core.model import AliasChange
from modelworks.core.semver import Semver
from modelworks.core.series import Series

T = 1_800_000_000
BEGAN = T - 3600
OLD, NEW = "1.0.0", "1.1.0"


class World:
    """A model that does well for four hours; whatever goes wrong does so in the fifth."""

    def __init__(self, seed=7):
        self.random = random.Random(seed)
        self.levels = {}
        self.version = {}
        self.moves = []
        for name, level, noise in (
            ("requests", 1000, 30),
            ("errors", 0.4, 0.5),
            ("rejected", 0, 0),
            ("invalid", 2, 1),
            ("latency_p50_ms", 3, 0.1),
            ("latency_p99_ms", 9, 0.6),
            ("queue_p99_ms", 1, 0.2),
            ("compute_p99_ms", 5, 0.3),
        ):
            self.set(name, level, noise)
        for feature in ("age", "income", "city"):
            self.set("drift", 0.02, 0.004, feature=feature, method="js")
            self.set("missing", 0.001, 0.0005, feature=feature)
            self.set("wrong_type", 0, 0, feature=feature)
            self.set("new_category", 0.0005, 0.0003, feature=feature)
        self.set("quality", 0.91, 0.004, metric="auc", kind="estimated")
        for name, level, noise in (
            ("host_cpu_share", 0.4, 0.03),
            ("host_memory_share", 0.6, 0.005),
            ("host_disk_share", 0.5, 0.001),
            ("host_major_faults_per_s", 0.2, 0.2),
        ):
            self.set(name, level, noise)

    def set(self, name, level, noise, **labels):
        self.levels[name, tuple(sorted(labels.items()))] = [(level, noise), (level, noise)]

    def becomes(self, name, level, noise=None, **labels):
        """From the beginning of the last hour on."""
        known = self.levels[name, tuple(sorted(labels.items()))]
        known[1] = (level, known[0][1] if noise is None else noise)

    def exchanged(self):
        """Another version serves from then on."""
        self.moves.append(
            AliasChange(
                "fraud",
                "champion",
                Semver.parse(NEW),
                Semver.parse(OLD),
                int(BEGAN * 1e9),
                "ana",
                "better",
            )
        )
        self.version = {1: NEW}

    def select(self, name, labels, since, until):
        for (known, told), spans in self.levels.items():
            if known != name:
                continue
            rows = {}
            for end in range(T - 5 * 3600 + 60, T + 1, 60):
                late = end > BEGAN
                level, noise = spans[late]
                version = self.version.get(int(late), OLD)
                value = max(0.0, self.random.gauss(level, noise))
                rows.setdefault(version, []).append((float(end), value))
            for version, points in rows.items():
                host = {} if name.startswith("host") else {"model": "fraud", "version": version}
                times, values = zip(*[p for p in points if since < p[0] <= until], strict=True)
                yield Series(name, {**host, **dict(told)}, times, values)

    # -- who knows what was done

    def find(self, name):
        return None

    def revisions(self, name):
        return []

    def events(self, name):
        return [Event(name, int(T * 1e9), "nothing")]

    def versions(self, name):
        if name != "fraud":
            raise NotFoundError(f"no model '{name}'")
        return []

    def history(self, name, alias=None):
        return self.moves


def asked(world, name="fraud", alerts=()):
    return ask(name, world, world, world, alerts, BEGAN, T)


def version(world):
    world.exchanged()
    world.becomes("errors", 60)
    world.becomes("compute_p99_ms", 14)
    world.becomes("latency_p99_ms", 18)


def schema(world):
    world.becomes("wrong_type", 0.4, 0.02, feature="age")
    world.becomes("drift", 0.4, 0.02, feature="age", method="js")
    world.becomes("quality", 0.8, metric="auc", kind="estimated")


def refused(world):
    world.becomes("invalid", 400, 20)


def missing(world):
    world.becomes("missing", 0.3, 0.02, feature="income")
    world.becomes("quality", 0.85, metric="auc", kind="estimated")


def mix(world):
    world.becomes("drift", 0.3, 0.02, feature="city", method="js")
    world.becomes("quality", 0.84, metric="auc", kind="estimated")


def saturation(world):
    world.becomes("requests", 4000, 100)
    world.becomes("queue_p99_ms", 60, 5)
    world.becomes("rejected", 200, 20)
    world.becomes("latency_p99_ms", 70, 5)
    world.becomes("host_cpu_share", 0.98, 0.01)


def upstream(world):
    world.becomes("latency_p50_ms", 40, 2)
    world.becomes("latency_p99_ms", 90, 5)


def host(world):
    world.becomes("host_memory_share", 0.99, 0.002)
    world.becomes("host_major_faults_per_s", 900, 90)
    world.becomes("compute_p99_ms", 40, 6)
    world.becomes("latency_p99_ms", 55, 6)
    world.becomes("queue_p99_ms", 12, 2)


def compute(world):
    world.becomes("compute_p99_ms", 30, 2)
    world.becomes("latency_p99_ms", 34, 2)


def silence(world):
    world.becomes("requests", 12, 3)


def failure(world):
    world.becomes("errors", 300, 20)


INCIDENTS = [
    ["version", version],
    ["schema", schema],
    ["schema", refused],
    ["schema", missing],
    ["mix", mix],
    ["saturation", saturation],
    ["upstream", upstream],
    ["host", host],
    ["compute", compute],
    ["silence", silence],
    ["failure", failure],
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("cause", "incident"), INCIDENTS, ids=[i.__name__ for _, i in INCIDENTS])
def test_the_cause_of_an_incident_is_named_first_with_its_evidence(cause, incident, seed):
    world = World(seed)
    incident(world)
    found = asked(world)
    assert found.findings, "nothing was named"
    first = found.findings[0]
    assert first.cause == cause, [(one.cause, one.score) for one in found.findings]
    assert first.evidence
    assert any("before" in line and "now" in line for line in first.evidence)
    assert first.help.endswith(f"#diagnose-{cause}")
    assert [one.score for one in found.findings] == sorted(
        (one.score for one in found.findings), reverse=True
    )


@pytest.mark.parametrize("seed", range(20))
def test_of_a_calm_history_nothing_is_said(seed):
    assert asked(World(seed)).findings == ()


def test_another_version_after_which_nothing_moved_is_no_cause():
    world = World()
    world.exchanged()
    found = asked(world)
    assert found.findings == ()
    assert found.acts[0].version == NEW


def test_a_version_that_came_long_before_is_not_first():
    world = World()
    world.exchanged()
    world.moves[0] = AliasChange(
        "fraud",
        "champion",
        Semver.parse(NEW),
        Semver.parse(OLD),
        int((BEGAN - 7000) * 1e9),
        "a",
        "",
    )
    world.version = {0: NEW, 1: NEW}
    upstream(world)
    assert asked(world).findings[0].cause == "upstream"


def test_every_cause_has_an_incident():
    assert {one.cause for one in hypotheses.ALL} == {cause for cause, _ in INCIDENTS}
    assert 0 < LIKELY < 0.5


def test_alerts_that_fire_about_it_are_shown():
    def alert(model, state=AlertState.FIRING):
        return Alert("r", {"model": model}, state, Severity.WARNING, 1.0, f"of {model}", 0)

    told = [alert("fraud"), alert("other"), alert("fraud", AlertState.RESOLVED)]
    assert asked(World(), alerts=told).alerts == ("of fraud",)


def test_what_is_not_there_is_said():
    with pytest.raises(NotFoundError, match="neither a deployment nor a model 'nobody'"):
        asked(World(), "nobody")


def test_without_series_nothing_is_said():
    world = World()
    world.levels = {}
    found = asked(world)
    assert (found.findings, found.looked_at) == ((), 0)
