"""Roll-outs over HTTP: what people start, stop and see, and whose name is kept."""

import re

import pytest

from modelworks.api.app import create_app
from modelworks.control.access import Access
from modelworks.control.endpoints import Watch
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.rollouts import ArmEvidence, Evidence, Sums
from modelworks.core.semver import Semver
from modelworks.edge.key_ring import KeyRing

pytestmark = pytest.mark.unit
API = "/api/v1/rollouts"
MANIFEST = """
apiVersion: modelworks/v1
kind: Rollout
metadata: {name: fraud-2}
spec:
  route: fraud
  stable: 1.0.0
  candidate: 2.0.0
  steps: [{share: 20%, bake: 10m}, {share: 100%}]
  primary: {metric: error_rate, margin: 5pp}
"""


def manifest(name="fraud-2", route="fraud"):
    return MANIFEST.replace("fraud-2", name).replace("route: fraud", f"route: {route}")


def put(plane, *names):
    for name in names:
        for version in ("1.0.0", "2.0.0"):
            plane.put(name, f"{name} {version}".encode(), version=Semver.parse(version))
        plane.factory.set_alias(name, "champion", "1.0.0")


@pytest.fixture
def models(plane):
    put(plane, "fraud")
    return plane


def start(client, text=MANIFEST, **more):
    return client.post(API, json={"manifest": text, **more})


def act(client, verb, name="fraud-2", **body):
    return client.post(f"{API}/{name}/{verb}", json=body)


def test_one_is_started_paused_resumed_and_promoted(models):
    asked = {"source": "header", "key": "x-user", "override": ""}
    answer = start(models.client, asked=asked)
    assert answer.status_code == 201, answer.text
    kept = answer.json()
    assert (kept["rollout"]["phase"], kept["shares"]) == ("waiting", {"1.0.0": 1.0, "2.0.0": 0.0})
    assert kept["asked"]["key"] == "x-user"
    assert act(models.client, "pause", reason="lunch").json()["rollout"]["phase"] == "paused"
    again = act(models.client, "pause")
    assert (again.status_code, again.json()["field"]) == (409, "phase")
    assert models.client.post(f"{API}/fraud-2/resume").json()["rollout"]["phase"] == "waiting"
    models.factory.rollouts.ready("fraud-2")
    ended = act(models.client, "promote", reason="I know better").json()
    assert ended["shares"] == {"1.0.0": 0.0, "2.0.0": 1.0}
    assert act(models.client, "abort").status_code == 409
    assert models.client.get(f"{API}/fraud-2").json() == ended
    events = models.client.get(f"{API}/fraud-2/history").json()
    assert [one["phase"] for one in events["events"]] == [
        *("waiting", "paused", "waiting", "running", "promoted")
    ]
    assert events["after"] == 0
    assert "I know better" in events["events"][-1]["sentence"]


def test_a_report_has_looks_risk_and_what_is_missing(models):
    start(models.client)
    verbs = models.factory.rollouts
    kept = verbs.ready("fraud-2")
    arms = tuple(
        ArmEvidence(arm, 100, metrics={"error_rate": Sums(count=100, total=wrong)})
        for arm, wrong in (("1.0.0", 0), ("2.0.0", 90))
    )
    verbs.look("fraud-2", Evidence(kept.rollout.step_ns + 1, arms, {}))
    told = models.client.get(f"{API}/fraud-2/report").json()
    assert told["sentence"].startswith("rolled back: back to 1.0.0")
    assert told["looks"][0]["points"][0]["metric"] == "error_rate"
    assert told["risk"]["false_rollback"] == 0.01
    assert told["plan"][0].startswith("canary: traffic of fraud goes to 2.0.0")


def test_pages_have_bounds_and_go_on(plane):
    for number in range(5):
        put(plane, f"m{number}")
        assert start(plane.client, manifest(f"r{number}", f"m{number}")).status_code == 201
    act(plane.client, "abort", "r3")
    seen, after = [], ""
    while True:
        page = plane.client.get(API, params={"limit": 2, "after": after}).json()
        seen.append([one["rollout"]["plan"]["name"] for one in page["rollouts"]])
        after = page["after"]
        if not after:
            break
    assert seen == [["r0", "r1"], ["r2", "r3"], ["r4"]]

    def names(**query):
        found = plane.client.get(API, params=query).json()["rollouts"]
        return [one["rollout"]["plan"]["name"] for one in found]

    assert names(route="m2") == ["r2"]
    assert names(phase="aborted") == ["r3"]
    assert names(phase="rolled back") == []
    first = plane.client.get(f"{API}/r3/history", params={"limit": 1}).json()
    assert (len(first["events"]), first["after"]) == (1, 1)
    second = plane.client.get(f"{API}/r3/history", params={"limit": 1, "after": 1}).json()
    assert (second["events"][0]["phase"], second["after"]) == ("aborted", 0)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        (("5pp", "0pp"), 400, "spec.primary.margin"),
        (("20%", "120%"), 400, "spec.steps[0].share"),
        (("Rollout", "Route"), 400, "kind"),
        (("candidate: 2.0.0", "candidate: 9.0.0"), 404, "ref"),
        (("stable: 1.0.0\n  candidate: 2.0.0", "stable: 2.0.0\n  candidate: 1.0.0"), 409, "stable"),
        ((MANIFEST, ""), 400, None),
        ((MANIFEST, MANIFEST + "---" + manifest("other")), 400, "manifest"),
        (("error_rate", "timeout_rate"), 400, "spec.primary"),
    ],
)
def test_what_cannot_be_started_is_named(refusing, change, status, field):
    answer = start(refusing.client, MANIFEST.replace(*change))
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert refusing.client.get(API).json() == {"rollouts": [], "after": ""}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", f"{API}?limit=0", None, 400, "limit"),
        ("GET", f"{API}?phase=gone", None, 400, "phase"),
        ("GET", f"{API}?all=1", None, 400, "all"),
        ("GET", f"{API}/nobody", None, 404, "name"),
        ("GET", f"{API}/nobody/report", None, 404, "name"),
        ("GET", f"{API}/nobody/history", None, 404, "name"),
        ("POST", f"{API}/nobody/abort", {"reason": "x"}, 404, "name"),
        ("POST", f"{API}/nobody/abort", {"why": "x"}, 400, "why"),
        ("POST", f"{API}/nobody/abort", {"reason": "x" * 1001}, 400, "reason"),
        ("GET", "/api/v1/why-not/nobody", None, 404, None),
    ],
)
def test_what_cannot_be_asked_is_named(unchanged, method, path, body, status, field):
    answer = unchanged.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert field is None or answer.json()["field"] == field


def test_why_not(refusing):
    answer = refusing.client.get("/api/v1/why-not/fraud:2.0.0").json()
    assert answer["ready"] is False
    assert any("no roll-out tried it" in one for one in answer["sentences"])


def test_whose_key_it_was_is_kept_and_who_only_reads_changes_nothing(models, tmp_path):
    keys = {
        role: KeyFile(tmp_path / "keys").add(name, role)
        for name, role in (("mia", Role.ADMIN), ("leo", Role.READ))
    }
    factory = models.factory
    watch = Watch(factory.home)
    app = create_app(factory, watch, access=Access(KeyRing(tmp_path / "keys")))
    with type(models.client)(app, "http://127.0.0.1") as client:
        assert start(client).status_code == 401
        client.headers["Authorization"] = f"Bearer {keys[Role.READ]}"
        assert start(client).status_code == 403
        assert client.get(API).status_code == 200
        client.headers["Authorization"] = f"Bearer {keys[Role.ADMIN]}"
        assert start(client).status_code == 201
        assert act(client, "abort", reason="wrong file").status_code == 200
    watch.close()
    acts = [(one.act, one.actor) for one in factory.deploying.audited("rollout/fraud-2")]
    assert acts == [("abort", "mia"), ("start", "mia")]
    events = factory.rollouts.history("fraud-2")
    assert [one.actor for one in events] == ["mia", "mia"]
    assert events[-1].sentence == "back to 1.0.0 by mia: wrong file"
    assert factory.history("fraud", "challenger")[-1].actor == "mia"


def test_it_is_described(unchanged):
    document = unchanged.client.get("/api/v1/openapi.json").json()
    paths = {path: set(verbs) for path, verbs in document["paths"].items() if "rollouts" in path}
    assert paths == {
        API: {"get", "post"},
        f"{API}/{{name}}": {"get"},
        f"{API}/{{name}}/history": {"get"},
        f"{API}/{{name}}/report": {"get"},
        **{f"{API}/{{name}}/{verb}": {"post"} for verb in ("pause", "resume", "promote", "abort")},
    }
    known = document["components"]["schemas"].keys()
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert wanted <= known
