"""The Kubernetes target ended in the middle, at every step; and pods that take their time."""

import pytest

from kubernetes_place import USUAL, emulated_place
from modelworks.core.errors import UnavailableError
from modelworks.ext.targets.kubernetes import applier

pytestmark = pytest.mark.contract


@pytest.fixture
def emulated(tmp_path):
    with emulated_place(tmp_path) as found:
        yield found


@pytest.mark.parametrize("first", [0, 1])
def test_ended_after_any_step_it_completes(emulated, first):
    """The connection is lost at each write in turn; `first`: onto nothing, or onto another goal."""
    cluster = emulated.emulated
    goal = emulated.goal({"autoscaling": {"min": 2, "max": 4}}, number=2)
    steps = 0
    while True:
        emulated.opened.delete("fraud")
        if first:
            emulated.opened.apply(emulated.goal(replicas=3))
        cluster.writes.clear()
        cluster.dies_after = steps
        try:
            emulated.opened.apply(goal)
        except UnavailableError:
            cluster.dies_after = None
            seen = emulated.opened.observe("fraud")
            if steps:
                assert not seen.settled
                assert seen.changed == ()
            emulated.opened.apply(goal)
        else:
            break
        finally:
            cluster.dies_after = None
        assert emulated.names() == {
            *USUAL,
            "poddisruptionbudgets/fraud",
            "horizontalpodautoscalers/fraud",
        }
        seen = emulated.opened.observe("fraud")
        assert (seen.settled, seen.changed) == (True, ())
        steps += 1
    assert steps >= 8  # inventory, six objects, inventory


def test_a_delete_that_was_ended_completes(emulated):
    cluster = emulated.emulated
    for steps in range(20):
        emulated.opened.apply(emulated.goal(replicas=2))
        cluster.writes.clear()
        cluster.dies_after = steps
        try:
            emulated.opened.delete("fraud")
        except UnavailableError:
            cluster.dies_after = None
            emulated.opened.delete("fraud")
        else:
            assert steps >= 6
            return
        finally:
            cluster.dies_after = None
        assert cluster.names() == []
    pytest.fail("it never ended")


def test_pods_answer_what_they_have_before_their_address_goes(emulated, monkeypatch):
    """The Deployment goes first; all else waits until its last pod has drained."""
    cluster = emulated.emulated
    emulated.opened.apply(emulated.goal(replicas=2))
    cluster.drains = 3
    seen = []

    def look(_):
        seen.append({name.partition("/")[0] for name in cluster.names()})

    monkeypatch.setattr(applier.time, "sleep", look)
    emulated.opened.delete("fraud")
    assert len(seen) >= 2
    assert all({"pods", "services", "networkpolicies", "configmaps"} <= there for there in seen)
    assert all("poddisruptionbudgets" not in there for there in seen)
    assert cluster.names() == []


def test_a_drain_has_a_deadline_and_can_be_gone_on_with(emulated, monkeypatch):
    cluster = emulated.emulated
    emulated.opened.apply(emulated.goal({"strategy": {"drain_s": 20}}))
    cluster.drains = 1_000_000
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(applier.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(applier.time, "sleep", lambda _: None)
    with pytest.raises(UnavailableError, match=r"still there after 90 s: fraud-"):
        emulated.opened.delete("fraud")
    with pytest.raises(UnavailableError, match="deployment fraud is still being deleted"):
        emulated.opened.apply(emulated.goal())
    cluster.drains = 1
    emulated.opened.delete("fraud")
    assert cluster.names() == []


def test_pods_of_a_removed_deployment_are_waited_for(emulated, monkeypatch):
    """Killed after the Deployment was told to go: the next delete waits for it, too."""
    cluster = emulated.emulated
    emulated.opened.apply(emulated.goal())
    cluster.drains = 3
    cluster.dies_after = 1
    cluster.writes.clear()
    monkeypatch.setattr(applier.time, "sleep", lambda _: None)
    with pytest.raises(UnavailableError):
        emulated.opened.delete("fraud")
    cluster.dies_after = None
    assert cluster.names() != []
    emulated.opened.delete("fraud")
    assert cluster.names() == []
