"""What a cluster says when something is wrong, as people read it: pods, rollouts, the API."""

import pytest
import yaml
from kubernetes import config

from kubernetes_server import NAMESPACE, serving
from kubernetes_specs import wanted
from kubernetes_words import kubeconfig
from modelworks.core.deployment import Phase
from modelworks.core.errors import (
    ConflictError,
    InvalidError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.ext.targets.kubernetes import KubernetesTarget
from modelworks.testing.target_fields import spec_of

pytestmark = pytest.mark.contract


class Here:
    def __init__(self, cluster, file):
        self.cluster = cluster
        self.settings = {"kubeconfig": str(file), "namespace": NAMESPACE}
        self.opened = self.open()

    def open(self, **settings):
        return KubernetesTarget().open({**self.settings, **settings}, None)

    def apply(self, said=None, **more):
        self.opened.apply(wanted(spec_of("kubernetes", said or {}), **more))


@pytest.fixture
def here(tmp_path):
    with serving(tmp_path) as (cluster, file):
        yield Here(cluster, file)


def container(**state):
    restarts = state.pop("restarts", 0)
    last = state.pop("last", {})
    return {
        "containerStatuses": [
            {"name": "server", "restartCount": restarts, "state": state, "lastState": last}
        ]
    }


def status(code, message, **details):
    return {"kind": "Status", "code": code, "message": message, "details": details}


@pytest.mark.parametrize(
    ("said", "phase", "words"),
    [
        (
            container(waiting={"reason": "ImagePullBackOff", "message": "Back-off: not found"}),
            Phase.FAILED,
            "ImagePullBackOff: Back-off: not found",
        ),
        (
            container(waiting={"reason": "CreateContainerConfigError", "message": "secret db"}),
            Phase.FAILED,
            "CreateContainerConfigError: secret db",
        ),
        (
            container(
                waiting={"reason": "CrashLoopBackOff", "message": "back-off 5m0s"},
                last={"terminated": {"exitCode": 2, "reason": "Error"}},
                restarts=4,
            ),
            Phase.FAILED,
            "it ended with 2: starting; last words",
        ),
        (
            container(
                waiting={"reason": "CrashLoopBackOff"},
                last={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            ),
            Phase.FAILED,
            "OOMKilled: it wanted more than resources.memory",
        ),
        (
            container(terminated={"exitCode": 1, "reason": "Error"}),
            Phase.FAILED,
            "it ended with 1: words of now",
        ),
        (container(running={}), Phase.STARTING, "Startup probe failed: connection refused"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": "0/3 nodes are available: 3 Insufficient cpu.",
                    }
                ],
            },
            Phase.STARTING,
            "no node takes it: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
    ],
)
def test_why_a_pod_is_not_ready(here, said, phase, words):
    here.cluster.ready = False
    here.apply(number=7)
    here.cluster.pod("fraud-x", 7, **said)
    here.cluster.logs["fraud-x", True] = "starting\n\nlast words\n"
    here.cluster.logs["fraud-x", False] = "words of now\n"
    for place, text in enumerate(["earlier", "Startup probe failed: connection refused"]):
        about = {"kind": "Pod", "name": "fraud-x"}
        said_of = {"involvedObject": about, "message": text, "lastTimestamp": f"2026-0{place + 1}"}
        here.cluster.add("events", {"metadata": {"name": f"e{place}"}, **said_of})
    seen = here.opened.observe("fraud")
    [one] = seen.replicas
    assert (one.name, one.revision, one.phase) == ("fraud-x", 7, phase)
    assert words in one.reason
    assert one.restarts == said.get("containerStatuses", [{}])[0].get("restartCount", 0)
    assert not seen.settled


def test_pods_that_are_over_are_no_replicas_and_say_why(here):
    here.cluster.ready = False
    here.apply()
    said = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    here.cluster.pod("fraud-old", 1, **said)
    seen = here.opened.observe("fraud")
    assert seen.replicas == ()
    assert seen.reason == "fraud-old ended: Evicted: The node was low on memory."


def test_pods_that_go_are_seen_to_go(here):
    here.apply()
    pod = next(name for name in here.cluster.names() if name.startswith("pods/"))
    here.cluster.change(
        "pods",
        lambda live: live["metadata"].update(deletionTimestamp="2026-11-22T00:00:00Z"),
        name=pod.partition("/")[2],
    )
    [one] = here.opened.observe("fraud").replicas
    assert one.phase is Phase.STOPPING


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": "pods is forbidden: exceeded quota: compute",
            },
            "FailedCreate: pods is forbidden: exceeded quota: compute",
        ),
        (
            {
                "type": "Progressing",
                "status": "False",
                "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet has timed out progressing.",
            },
            "ProgressDeadlineExceeded: ReplicaSet has timed out",
        ),
    ],
)
def test_why_no_pod_can_be_made(here, condition, words):
    here.cluster.ready = False
    here.apply()
    here.cluster.change("deployments", lambda live: live.update(status={"conditions": [condition]}))
    seen = here.opened.observe("fraud")
    assert seen.reason.startswith(words)
    assert not seen.settled


@pytest.mark.parametrize(
    "change",
    [
        {"observedGeneration": 0},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
        {"replicas": 3, "updatedReplicas": 2},
    ],
)
def test_a_rollout_is_over_when_all_of_it_is(here, change):
    here.apply(replicas=2)
    assert here.opened.observe("fraud").settled
    here.cluster.change("deployments", lambda live: live["status"].update(change))
    assert not here.opened.observe("fraud").settled


@pytest.mark.parametrize(
    ("code", "said", "kind", "field", "words"),
    [
        (422, status(422, "spec.port: Invalid value"), InvalidError, "target", "Invalid value"),
        (
            403,
            status(403, "pods is forbidden: exceeded quota: compute", name="x"),
            InvalidError,
            "resources",
            "exceeded quota",
        ),
        (
            403,
            status(403, "cannot patch resource", name="x"),
            InvalidError,
            "target.settings.context",
            "docs/kubernetes.md has the role",
        ),
        (401, "no", InvalidError, "target.settings.context", "sign in again"),
        (409, status(409, "object was modified"), ConflictError, None, "was modified"),
        (429, "busy", UnavailableError, None, "429: busy"),
        (503, "<html>proxy</html>", UnavailableError, None, "503"),
        (200, "<html>a portal</html>", UnavailableError, None, "no Kubernetes"),
    ],
)
def test_what_the_api_refuses(here, code, said, kind, field, words):
    here.cluster.fail(code, said, plural="services")
    with pytest.raises(kind, match=words) as caught:
        here.apply()
    assert type(caught.value) is kind
    assert caught.value.field == field
    assert "\n" not in caught.value.message


def test_a_namespace_that_nobody_made(here):
    with pytest.raises(InvalidError, match="kubectl create namespace nowhere") as caught:
        here.open(namespace="nowhere").apply(wanted(spec_of("kubernetes", {})))
    assert caught.value.field == "target.settings.namespace"


def test_a_kind_that_nobody_brought(here):
    here.cluster.unknown = {"servicemonitors"}
    opened = here.open(service_monitor="true")
    with pytest.raises(UnsupportedError, match="install the Prometheus operator"):
        opened.apply(wanted(spec_of("kubernetes", {})))
    assert not opened.observe("fraud").settled
    here.apply()  # without it, it completes
    assert here.opened.observe("fraud").settled


def test_a_cluster_that_is_too_old(here):
    here.cluster.version = {"major": "1", "minor": "24"}
    with pytest.raises(UnsupportedError, match=r"1\.24, and 1\.25 is the oldest"):
        here.apply()
    assert here.cluster.writes == []


@pytest.mark.parametrize("said", ["<html>", {"major": "1"}, [], {"major": 1, "minor": None}])
def test_what_answers_is_no_cluster(here, said):
    here.cluster.version = said
    with pytest.raises(UnavailableError, match="no Kubernetes"):
        here.opened.observe("fraud")


def test_nobody_answers(here, tmp_path):
    file = tmp_path / "closed"
    file.write_text(yaml.safe_dump(kubeconfig("http://127.0.0.1:9")))
    with pytest.raises(UnavailableError, match="does not answer"):
        here.open(kubeconfig=str(file)).observe("fraud")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"context": "absent"}, "target.settings.context"),
        ({"kubeconfig": "/nonexistent/kubeconfig"}, "target.settings.kubeconfig"),
    ],
)
def test_no_way_to_a_cluster(here, settings, field):
    with pytest.raises(InvalidError, match="no way to a cluster") as caught:
        here.open(**settings).observe("fraud")
    assert caught.value.field == field


def test_no_cluster_is_known_at_all(monkeypatch):
    """Neither a file nor a pod's own account; nothing of this machine is looked at."""
    monkeypatch.setattr(config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nonexistent/config")
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    opened = KubernetesTarget().open({}, None)
    assert opened.render(wanted(spec_of("kubernetes", {})))
    with pytest.raises(UnavailableError, match="no way to a cluster"):
        opened.observe("fraud")


@pytest.mark.parametrize("text", ["{", "[]", "apiVersion: v1\nkind: Config\n"])
def test_a_kubeconfig_that_is_none(here, tmp_path, text):
    file = tmp_path / "broken"
    file.write_text(text)
    with pytest.raises(InvalidError, match="no way to a cluster"):
        here.open(kubeconfig=str(file)).observe("fraud")
