"""The Kubernetes target against an API server: what is applied, seen, pruned and deleted.

The server is a small emulation (`kubernetes_server`). Where MODELWORKS_TEST_KUBECONFIG leads to a
real one, in whose namespace MODELWORKS_TEST_NAMESPACE (`modelworks-test`) anything may be made,
the same tests run there too.
"""

import os
from dataclasses import replace

import pytest

from kubernetes_place import USUAL, Place, emulated_place
from modelworks.core.errors import ConflictError

pytestmark = pytest.mark.contract
REAL = "MODELWORKS_TEST_KUBECONFIG"


@pytest.fixture(params=["emulated", *(["real"] if REAL in os.environ else [])])
def place(request, tmp_path):
    if request.param == "emulated":
        with emulated_place(tmp_path) as found:
            yield found
        return
    namespace = os.environ.get("MODELWORKS_TEST_NAMESPACE", "modelworks-test")
    found = Place({"kubeconfig": os.environ[REAL], "namespace": namespace})
    found.opened.delete("fraud")
    yield found
    found.opened.delete("fraud")


@pytest.fixture
def emulated(tmp_path):
    with emulated_place(tmp_path) as found:
        yield found


def test_it_is_applied_and_twice_changes_nothing(place):
    assert place.opened.observe("fraud") is None
    place.opened.apply(place.goal(replicas=2))
    assert place.names() == {*USUAL, "poddisruptionbudgets/fraud"}
    before = {
        kind: place.get(kind)["metadata"]["resourceVersion"]
        for kind in ("Service", "NetworkPolicy", "ServiceAccount", "PodDisruptionBudget")
    }
    kept = place.get("ConfigMap", "modelworks.deployment.fraud")["metadata"]["resourceVersion"]
    place.opened.apply(place.goal(replicas=2))
    for kind, version in before.items():
        assert place.get(kind)["metadata"]["resourceVersion"] == version, kind
    again = place.get("ConfigMap", "modelworks.deployment.fraud")["metadata"]["resourceVersion"]
    assert again == kept
    seen = place.opened.observe("fraud")
    assert seen.changed == ()
    assert seen.url == f"http://fraud.{place.settings['namespace']}.svc:8080"


def test_what_is_no_longer_wanted_goes(place):
    place.opened.apply(place.goal(replicas=2))
    place.opened.apply(place.goal(replicas=1))
    assert place.names() == USUAL


def test_the_number_of_pods_goes_to_an_autoscaler_and_back_without_a_dip(place):
    place.opened.apply(place.goal(replicas=3))
    place.opened.apply(place.goal({"autoscaling": {"min": 2, "max": 5}}))
    assert place.get("Deployment")["spec"]["replicas"] == 3
    assert "horizontalpodautoscalers/fraud" in place.names()
    assert place.opened.observe("fraud").changed == ()
    place.opened.apply(place.goal(replicas=2))
    assert place.get("Deployment")["spec"]["replicas"] == 2
    assert "horizontalpodautoscalers/fraud" not in place.names()


def test_a_change_from_outside_is_seen_with_who_made_it_and_put_right(place):
    goal = place.goal(replicas=2)
    place.opened.apply(goal)
    place.disturb("Deployment", {"replicas": 5})
    [line] = place.opened.observe("fraud").changed
    assert line == "deployment fraud: spec.replicas is 5, was 2 (kubectl)"
    place.opened.apply(goal)
    assert place.get("Deployment")["spec"]["replicas"] == 2
    assert place.opened.observe("fraud").changed == ()


def test_what_others_add_beside_ours_stays(place):
    place.opened.apply(place.goal())
    place.disturb("Service", {"sessionAffinity": "ClientIP"})
    assert place.opened.observe("fraud").changed == ()
    place.opened.apply(place.goal({"access": {"port": 9090}}))
    assert place.get("Service")["spec"]["sessionAffinity"] == "ClientIP"
    assert place.get("Service")["spec"]["ports"][0]["port"] == 9090


def test_what_somebody_deleted_is_seen_and_made_again(place):
    place.opened.apply(place.goal())
    place.remove("Service")
    assert place.opened.observe("fraud").changed == ("service fraud is gone",)
    place.opened.apply(place.goal())
    assert place.get("Service") is not None
    assert place.opened.observe("fraud").changed == ()


def test_objects_of_others_are_never_taken_over(place):
    head = {"name": "fraud", "namespace": place.settings["namespace"]}
    ports = [{"name": "web", "port": 80}]
    found = {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": {"ports": ports}}
    place.other.apply(found, force=False, manager="helm")
    try:
        with pytest.raises(ConflictError, match="service fraud is there already"):
            place.opened.apply(place.goal())
        assert place.names() == set()
        assert place.get("Service")["spec"]["ports"][0]["port"] == 80
        place.opened.delete("fraud")
        assert place.get("Service") is not None
    finally:
        place.remove("Service")


def test_nothing_is_left_and_neighbours_stay(place):
    place.opened.apply(place.goal(replicas=2))
    place.opened.apply(place.goal(name="other"))
    place.opened.delete("fraud")
    try:
        assert place.names() == set()
        assert place.opened.observe("fraud") is None
        place.opened.delete("fraud")
        assert place.opened.observe("other") is not None
    finally:
        place.opened.delete("other")


def test_an_object_that_appears_in_between_is_not_taken_over(emulated):
    """Nobody had a Service when we looked; somebody has when we apply ours."""
    cluster = emulated.emulated
    spec = {"ports": [{"name": "http", "port": 80}]}
    theirs = {"metadata": {"name": "fraud"}, "spec": spec}
    cluster.meanwhile = lambda: cluster.add("services", theirs)
    with pytest.raises(ConflictError, match=r'service fraud: conflict with "helm"'):
        emulated.opened.apply(emulated.goal())
    assert cluster.get("services")["spec"] == spec


def test_what_controllers_make_from_ours_is_left_to_them(emulated):
    goal = emulated.goal()
    emulated.opened.apply(goal)
    head = {
        "name": "keda-hpa-fraud",
        "labels": {"modelworks.deployment": "fraud"},
        "ownerReferences": [{"kind": "ScaledObject", "name": "fraud"}],
    }
    emulated.emulated.add("horizontalpodautoscalers", {"metadata": head, "spec": {}})
    emulated.opened.apply(replace(goal, description="again"))
    assert "horizontalpodautoscalers/keda-hpa-fraud" in emulated.emulated.names()


def test_lists_are_read_to_their_end(emulated):
    emulated.opened.apply(emulated.goal(replicas=7))
    emulated.emulated.page = 3
    assert len(emulated.opened.observe("fraud").replicas) == 7


def test_what_git_ops_applied_is_seen_too(emulated):
    emulated.opened.apply(emulated.goal(replicas=2))
    emulated.remove("ConfigMap", "modelworks.deployment.fraud")
    seen = emulated.opened.observe("fraud")
    assert (seen.ready(1), seen.settled, seen.changed) == (2, True, ())


def test_a_label_that_somebody_took_away_is_put_back(emulated):
    emulated.opened.apply(emulated.goal())
    emulated.emulated.change(
        "deployments", lambda live: live["metadata"]["labels"].pop("modelworks.deployment")
    )
    [line] = emulated.opened.observe("fraud").changed
    assert "metadata.labels.modelworks.deployment is gone" in line
    emulated.opened.apply(emulated.goal())
    assert emulated.opened.observe("fraud").changed == ()


def test_an_inventory_that_somebody_damaged_is_written_anew(emulated):
    emulated.opened.apply(emulated.goal())
    emulated.emulated.change(
        "configmaps",
        lambda live: live.update(data={"applied.json": "{"}),
        name="modelworks.deployment.fraud",
    )
    assert not emulated.opened.observe("fraud").settled
    emulated.opened.apply(emulated.goal())
    assert emulated.opened.observe("fraud").settled


def test_an_inventory_of_others_is_left_alone(emulated):
    cluster = emulated.emulated
    theirs = {"metadata": {"name": "modelworks.deployment.fraud"}, "data": {"a": "b"}}
    cluster.add("configmaps", theirs)
    for act in (
        lambda: emulated.opened.apply(emulated.goal()),
        lambda: emulated.opened.delete("fraud"),
    ):
        with pytest.raises(ConflictError, match="is there and is not ours"):
            act()
    assert cluster.names() == ["configmaps/modelworks.deployment.fraud"]
    assert cluster.writes == []


def test_what_was_replaced_by_another_of_its_name_is_not_deleted(emulated):
    cluster = emulated.emulated
    emulated.opened.apply(emulated.goal(replicas=2))
    place = ("poddisruptionbudgets", "fraud")

    def replaced():
        del cluster.objects[place]
        cluster.add(place[0], {"metadata": {"name": place[1]}, "spec": {}})

    cluster.meanwhile = replaced
    with pytest.raises(ConflictError, match="UID"):
        emulated.opened.apply(emulated.goal(replicas=1))
    assert place in cluster.objects
    emulated.opened.apply(emulated.goal(replicas=1))
    assert emulated.opened.observe("fraud").settled
    assert place in cluster.objects
