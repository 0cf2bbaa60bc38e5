"""What engines show, as replicas and as changes: pure, from what Docker 20.10 said."""

import json

import pytest

from modelworks.core.deployment import Phase
from modelworks.ext.targets.containers import names, seen
from modelworks.ext.targets.swarm import tasks
from modelworks.ext.targets.swarm.render import differences

LIMITS = {"Memory": 512, "CpuShares": 256}


def container(name="modelworks-fraud-1-1", status="running", health="healthy", **state):
    return {
        "Id": name,
        "Name": f"/{name}",
        "RestartCount": state.pop("restarts", 0),
        "Config": {
            "Labels": {names.REVISION: "1", names.LIMITS: json.dumps(LIMITS)},
            "Healthcheck": {"Retries": 3},
            "StopTimeout": 15,
        },
        "HostConfig": {"NetworkMode": "container:holder", **LIMITS},
        "State": {
            "Status": status,
            "Running": status in {"running", "paused", "restarting"},
            "Paused": status == "paused",
            "StartedAt": "2026-11-22T16:00:01.5Z",
            "Health": {"Status": health, "FailingStreak": state.pop("streak", 0)},
            **state,
        },
    }


def holder(started="2026-11-22T16:00:01.123456789Z", *, running=True):
    return {
        "Id": "holder",
        "Name": "/modelworks-fraud-network-8080-host",
        "Config": {"Labels": {names.NETWORK: "8080-host"}},
        "HostConfig": {},
        "State": {
            "Status": "running" if running else "exited",
            "Running": running,
            "Paused": False,
            "StartedAt": started,
        },
    }


def looked(one, *others):
    return seen.replica(one, seen.networks([one, *others]), lambda _: "boom")


@pytest.mark.parametrize(
    ("made", "phase", "words"),
    [
        (container(), Phase.READY, ""),
        (container(health="starting"), Phase.STARTING, "boom"),
        (container(health="unhealthy"), Phase.FAILED, "health check"),
        (container(status="restarting", ExitCode=2), Phase.FAILED, "ended with 2"),
        (container(status="exited", ExitCode=137, OOMKilled=True), Phase.FAILED, "memory"),
        (container(status="paused"), Phase.FAILED, "paused"),
        (container(status="created", Error="no such network"), Phase.FAILED, "no such network"),
        (container("modelworks-fraud-1-1-stopping-1795365910"), Phase.STOPPING, ""),
    ],
)
def test_phases_and_reasons(made, phase, words):
    replica = looked(made, holder())
    assert (replica.phase, replica.revision) == (phase, 1)
    assert words in replica.reason


@pytest.mark.parametrize("others", [[], [holder(running=False)], [holder("2026-11-22T16:00:02Z")]])
def test_whoever_lost_its_network_is_cut_off(others):
    replica = looked(container(), *others)
    assert replica.phase is Phase.FAILED
    assert "network" in replica.reason


def test_hung_is_three_times_the_failures():
    assert not seen.hung(container(health="unhealthy", streak=8))
    assert seen.hung(container(health="unhealthy", streak=9))


def test_changes_from_outside():
    one = container()
    assert seen.changed([one, holder()], {1: 1}) == ()
    assert seen.changed([holder()], {1: 2}) == ("revision 1: 2 of 2 containers are gone",)
    one["HostConfig"]["Memory"] = 300
    assert seen.changed([one, holder()], {}) == ("modelworks-fraud-1-1: Memory is 300, not 512",)
    gone = container("modelworks-fraud-1-1-stopping-17", status="exited")
    assert seen.changed([gone, holder()], {}) == ()


def task(identity, state, desired="running", slot=1, number=1, at=0, **status):
    return {
        "ID": identity,
        "Slot": slot,
        "DesiredState": desired,
        "CreatedAt": f"2026-11-22T16:00:{at:02}Z",
        "Spec": {"ContainerSpec": {"Labels": {names.REVISION: str(number)}}},
        "Status": {"State": state, **status},
    }


def test_tasks_that_fail_again_and_again_are_counted():
    before = [
        task(f"a{n}", "failed", "shutdown", at=n, Err="task: non-zero exit (2)") for n in range(3)
    ]
    [one] = tasks.replicas([*before, task("b", "ready", at=9)], lambda _: "")
    assert (one.phase, one.restarts) == (Phase.FAILED, 3)
    assert "non-zero exit (2)" in one.reason
    [one] = tasks.replicas([*before, task("b", "starting", at=9)], lambda _: "")
    assert (one.phase, one.restarts) == (Phase.STARTING, 3)


def test_tasks_of_the_revision_before_end():
    found = tasks.replicas(
        [task("old", "running", "shutdown"), task("new", "running", number=2, at=1)], lambda _: ""
    )
    assert [(one.revision, one.phase) for one in found] == [(1, Phase.STOPPING), (2, Phase.READY)]


def test_differences_are_those_of_what_was_asked_for():
    asked = {"Mode": {"Replicated": {"Replicas": 2}}, "Env": ["A=1"], "Networks": ["host"], "x": {}}
    there = {"Mode": {"Replicated": {"Replicas": 2}}, "Env": ["A=1"], "More": 1}
    assert not list(differences(asked, there))
    there["Mode"] = {"Replicated": {"Replicas": 3}}
    there["Env"] = ["A=2"]
    assert list(differences(asked, there)) == [
        "Mode.Replicated.Replicas is 3, not 2",
        'Env[0] is "A=2", not "A=1"',
    ]
