"""What a deployment becomes on Kubernetes: valid in every version, and what the manifest says."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubernetes_specs import IMAGE, wanted
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.kubernetes.capabilities import FIELDS, ROUTES
from modelworks.ext.targets.kubernetes.objects.quantity import cores, size
from modelworks.ext.targets.kubernetes.objects.text import yaml_of
from modelworks.ext.targets.kubernetes.objects.whole import objects
from modelworks.ext.targets.kubernetes.settings import Settings, read
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import leaves
from modelworks.testing.target_fields import spec_of
from properties import examples

UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15} | {
    f"{unit}i": 1024**power for power, unit in enumerate("KMGTP", 1)
}


def made(said=None, settings=None, **more):
    target = {"type": "kubernetes", "settings": settings or {}}
    spec = spec_of("kubernetes", {"target": target, **(said or {})})
    found = objects(wanted(spec, **more), read(settings or {}))
    return {one["kind"]: one for one in found}


def pod(said=None, **more):
    return made(said, **more)["Deployment"]["spec"]["template"]["spec"]


def server(said=None, **more):
    [container] = pod(said, **more)["containers"]
    return container


def variables(container):
    return {one["name"]: one.get("value") for one in container["env"]}


def expanded(value):
    """What Kubernetes makes of an `env` value: its own rule, with no variable to put in."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "!", value)


def amount(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text).groups()
    return float(number) * UNITS[unit]


def test_pods_have_no_rights():
    found = pod()
    assert found["automountServiceAccountToken"] is False
    assert found["enableServiceLinks"] is False
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = found["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == IMAGE


def test_a_port_that_only_root_may_open_is_opened_by_a_safe_sysctl():
    assert "sysctls" not in pod({"access": {"port": 1024}})["securityContext"]
    [one] = pod({"access": {"port": 443}})["securityContext"]["sysctls"]
    assert one == {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}


def test_new_pods_come_before_old_ones_go():
    found = made({"strategy": {"max_surge": 3, "ready_timeout_s": 77, "drain_s": 40}})
    spec = found["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 3, "maxUnavailable": 0}
    assert spec["progressDeadlineSeconds"] == 77
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 50
    [container] = spec["template"]["spec"]["containers"]
    assert "time.sleep(5)" in container["lifecycle"]["preStop"]["exec"]["command"][-1]


@pytest.mark.parametrize("tls", [False, True])
def test_probes(tls):
    sources = {"certificate": {"secret": "tls"}, "private_key": {"secret": "tls"}} if tls else {}
    said = {"startup_timeout_s": 33, "period_s": 7, "timeout_s": 4, "failures": 2}
    found = server({"probes": said, "access": sources})
    ready = {"path": "/v2/health/ready", "port": "http", "scheme": "HTTPS" if tls else "HTTP"}
    start = found["startupProbe"]
    assert start["httpGet"] == ready
    assert start["periodSeconds"] * start["failureThreshold"] == 33
    assert found["readinessProbe"] == {
        "httpGet": ready,
        "periodSeconds": 7,
        "timeoutSeconds": 4,
        "failureThreshold": 2,
    }
    assert found["livenessProbe"]["failureThreshold"] == 6
    assert found["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


@given(value=st.text("$()AB{} x", max_size=20))
@examples(100)
def test_variables_arrive_as_they_were_written(value):
    found = variables(server({"environment": {"MINE": value}}))
    assert expanded(found["MINE"]) == value


@given(number=st.integers(2**20, 2**50))
def test_bytes_are_written_exactly(number):
    assert amount(size(number)) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [(1 << 30, "1Gi"), (1536 << 20, "1536Mi"), (5_000_000, "5M"), (1_048_577, "1048577")],
)
def test_bytes_are_written_as_kubernetes_writes_them_back(number, text):
    assert size(number) == text


@pytest.mark.parametrize(("number", "text"), [(2.0, "2"), (0.5, "500m"), (1.25, "1250m")])
def test_cores(number, text):
    assert cores(number) == text


@pytest.mark.parametrize("text", ["yes", "1e3", "0o17", "1_000", "12:30", "~", "", "null", "a: b"])
def test_texts_are_texts_in_every_yaml(text):
    written = yaml_of({"value": text})
    assert written.startswith('value: "')
    assert yaml.safe_load(written) == {"value": text}


def test_secrets_are_references():
    said = {
        "secrets": [
            {"name": "TOKEN", "source": {"secret": "db"}},
            {"name": "LICENCE", "source": {"secret": "l", "key": "pem"}, "mount": True},
        ],
        "access": {
            "keys": {"secret": "api"},
            "certificate": {"secret": "tls"},
            "private_key": {"secret": "tls", "key": "other.key"},
        },
    }
    found = pod(said)
    [container] = found["containers"]
    token = next(one for one in container["env"] if one["name"] == "TOKEN")
    assert token["valueFrom"] == {"secretKeyRef": {"name": "db", "key": "TOKEN"}}
    [volume] = [one["projected"] for one in found["volumes"] if one["name"] == "secrets"]
    assert [
        (one["secret"]["name"], one["secret"]["items"][0]["key"], one["secret"]["items"][0]["path"])
        for one in volume["sources"]
    ] == [
        ("l", "pem", "LICENCE"),
        ("api", "keys", "modelworks-keys"),
        ("tls", "tls.crt", "modelworks-tls.crt"),
        ("tls", "other.key", "modelworks-tls.key"),
    ]
    told = variables(container)
    assert told["LICENCE_FILE"] == "/run/secrets/LICENCE"
    assert told["MODELWORKS_SERVER_TLS_CERT"] == "/run/secrets/modelworks-tls.crt"


def test_how_many_is_said_once():
    assert made(replicas=3)["Deployment"]["spec"]["replicas"] == 3
    scaled = made({"autoscaling": {"min": 2, "max": 5}})
    assert "replicas" not in scaled["Deployment"]["spec"]
    assert scaled["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 2
    assert "PodDisruptionBudget" in scaled
    assert "PodDisruptionBudget" not in made(replicas=1)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("requests", "modelworks_requests_total"),
        ("concurrency", 'duration_seconds_sum{namespace="default",service="fraud",stage="total"}'),
    ],
)
def test_keda_asks_for_what_the_server_tells(metric, words):
    settings = {"keda": "true", "prometheus": "http://p:9090", "service_monitor": "true"}
    found = made({"autoscaling": {"max": 4, "metric": metric, "goal": 12.5}}, settings)
    [trigger] = found["ScaledObject"]["spec"]["triggers"]
    assert words in trigger["metadata"]["query"]
    assert trigger["metadata"]["threshold"] == "12.5"
    assert "HorizontalPodAutoscaler" not in found


def test_the_network_lets_in_what_the_manifest_says():
    inside = made()["NetworkPolicy"]["spec"]
    assert inside["ingress"] == [
        {"ports": [{"port": 8080, "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
    ]
    assert "Egress" in inside["policyTypes"]
    public = made({"access": {"expose": "public"}}, {"egress": "true"})
    assert "from" not in public["NetworkPolicy"]["spec"]["ingress"][0]
    assert public["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]
    assert public["Service"]["spec"]["type"] == "LoadBalancer"
    assert "NetworkPolicy" not in made(settings={"network_policy": "false"})


def test_labels_by_which_we_find_are_ours():
    spec = spec_of("kubernetes", {})
    with pytest.raises(InvalidError, match="a name of ours") as caught:
        objects(wanted(spec, labels={"modelworks.deployment": "other"}), Settings())
    assert caught.value.field == "metadata.labels"
    found = objects(wanted(spec, labels={"app.kubernetes.io/name": "own"}), Settings())
    assert all(one["metadata"]["labels"]["app.kubernetes.io/name"] == "own" for one in found)


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"resources": {"cpu": 0.0015}}, "resources.cpu", "thousandth"),
        ({"autoscaling": {"max": 3, "min": 0}}, "autoscaling.min", "while no pod runs"),
        ({"autoscaling": {"max": 3, "goal": 70.5}}, "autoscaling.goal", "whole numbers"),
        ({"autoscaling": {"max": 3, "metric": "requests"}}, "autoscaling.metric", "keda: 'true'"),
    ],
)
def test_values_that_are_refused(said, field, words):
    spec = spec_of("kubernetes", said)
    [value] = [leaf.value for leaf in leaves(DeploymentSpec, spec) if leaf.field == field]
    assert words in FIELDS[field].refuses(value, spec)


@pytest.mark.parametrize("path", ["/a/", "/a//b", "/a/../b", "/./a", "//"])
def test_paths_that_gateways_refuse(path):
    assert ROUTES["path"].refuses(path, {})


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"namespace": "Up"}, "namespace"),
        ({"keda": "yes"}, "keda"),
        ({"routing": "nginx", "gateway": "g"}, "routing"),
        ({"routing": "gateway"}, "gateway"),
        ({"gateway": "a/b/c"}, "gateway"),
        ({"prometheus": "prometheus:9090"}, "prometheus"),
        ({"gpu_resource": "gpu"}, "gpu_resource"),
        ({"pull_secret": "No Name"}, "pull_secret"),
    ],
)
def test_settings_that_cannot_be(said, field):
    with pytest.raises(InvalidError) as caught:
        read(said)
    assert caught.value.field == f"target.settings.{field}"
    assert len(caught.value.message.splitlines()) == 1
