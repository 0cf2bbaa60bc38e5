"""Every verb over HTTP answers what the factory answers, and mistakes are named."""

import json

import pytest

from modelworks.api import routes
from modelworks.core import codec, errors
from modelworks.core import digest as digests
from modelworks.core.ids import parse_time
from modelworks.core.model import Verification

pytestmark = pytest.mark.unit

API = "/api/v1"


def problem(answer, status, field=None, kind=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:modelworks:problem:")
    assert body["title"]
    assert "\n" not in body["detail"]
    assert body.get("field") == field, body
    if kind:
        assert body["kind"] == kind
    return body


def test_reading(plane):
    client, factory, put = plane.client, plane.factory, plane.put
    put(alias="champion", tags=("a",), labels={"environment": "lab"})
    put()
    same = {
        "/models": factory.models(),
        "/models/fraud/versions": factory.versions("fraud"),
        "/versions/fraud": factory.show("fraud"),
        "/versions/fraud@champion": factory.show("fraud@champion"),
        "/versions/fraud:1.0.0": factory.show("fraud:1.0.0"),
        "/versions/fraud%40champion": factory.show("fraud@champion"),
        "/compare?left=fraud:1.0.0&right=fraud": factory.compare("fraud:1.0.0", "fraud"),
        "/models/fraud/history": factory.history("fraud"),
        "/models/fraud/history?alias=champion": factory.history("fraud", "champion"),
        "/endpoints": [],
        "/health": routes.Health("ok", 1),
    }
    for path, expected in same.items():
        answer = client.get(API + path)
        assert answer.status_code == 200, answer.text
        assert answer.json() == codec.encode(expected), path


def test_a_file_of_an_artifact(plane):
    version = plane.put(content=b"model" * 1000)
    [(name, digest)] = version.artifact.files
    answer = plane.client.get(f"{API}/versions/fraud:1.0.0/files/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert digests.of_bytes(answer.content) == digest
    for wrong in ("nothing.onnx", "../registry.db", "..%2Fregistry.db", "%2Fetc%2Fpasswd", "a/b"):
        found = plane.client.get(f"{API}/versions/fraud/files/{wrong}")
        assert found.status_code == 404, wrong
    found = plane.client.get(f"{API}/versions/fraud/files/nothing.onnx")
    assert name in problem(found, 404, "path")["detail"]
    problem(plane.client.get(f"{API}/versions/nobody/files/{name}"), 404, "ref")


def test_a_damaged_file_is_named_and_not_sent(plane):
    version = plane.put()
    [(name, digest)] = version.artifact.files
    stored = plane.factory.home.blobs / "sha256" / digest[7:9] / digest[7:]
    stored.chmod(0o600)
    stored.write_bytes(b"x")
    body = problem(plane.client.get(f"{API}/versions/fraud/files/{name}"), 500)
    assert (body["kind"], name in body["detail"]) == ("CorruptError", True)


def test_an_alias_and_its_past(plane):
    client, factory, put = plane.client, plane.factory, plane.put
    put()
    put()
    path = f"{API}/models/fraud/aliases/champion"
    first = client.put(path, json={"version": "1.0.0", "reason": "first"}).json()
    client.put(path, json={"version": "1.1.0"})
    assert factory.show("fraud@champion").ref == "fraud:1.1.0"
    then = client.get(f"{path}/at?at_ns={first['since_ns']}").json()
    assert (then["version"], then["reason"]) == ("1.0.0", "first")
    assert (
        client.get(f"{path}/at", params={"at": "2100-01-01T00:00+02:00"}).json()["version"]
        == "1.1.0"
    )
    assert client.delete(path, params={"reason": "gone"}).status_code == 204
    assert factory.history("fraud")[-1].reason == "gone"
    problem(client.get(f"{path}/at?at_ns={parse_time('2100-01-01')}"), 404, "at")


def test_changing(plane):
    client, factory, put = plane.client, plane.factory, plane.put
    put(content=b"one" * 10)
    put()
    answer = client.put(
        f"{API}/versions/fraud:1.0.0/annotations", json={"tags": ["x"], "labels": {"team": "risk"}}
    )
    assert answer.json() == codec.encode(factory.show("fraud:1.0.0"))
    assert factory.show("fraud:1.0.0").tags == ("x",)
    assert client.put(f"{API}/versions/fraud:1.0.0/annotations", json={}).json()["tags"] == []
    verified = client.post(f"{API}/versions/fraud:1.0.0/verify").json()
    assert verified == codec.encode(Verification("fraud:1.0.0", ok=True, files=1, problems=()))
    assert client.delete(f"{API}/versions/fraud:1.0.0").json() == ["fraud:1.0.0"]
    assert client.post(f"{API}/collect").json() == {"blobs": 1, "bytes": 30}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/versions/Fraud!", None, 400, "name"),
        ("GET", "/versions/fraud:1", None, 400, "version"),
        ("GET", "/versions/nobody", None, 404, "ref"),
        ("GET", "/versions/fraud@nobody", None, 404, "ref"),
        ("GET", "/versions/" + "a" * 300, None, 400, "ref"),
        ("GET", "/versions/%00", None, 400, "name"),
        ("GET", "/versions/%ff%fe", None, 400, "name"),
        ("GET", "/models/nobody/versions", None, 404, "name"),
        ("GET", "/models/nobody/history", None, 404, "name"),
        ("GET", "/models/fraud/history?alias=A!", None, 400, "alias"),
        ("GET", "/models/fraud/aliases/champion/at", None, 400, "at"),
        ("GET", "/models/fraud/aliases/champion/at?at_ns=1&at=2026-01-01", None, 400, "at"),
        ("GET", "/models/fraud/aliases/champion/at?at=yesterday", None, 400, "at"),
        ("GET", "/models/fraud/aliases/champion/at?at=9999-12-31", None, 400, "at"),
        ("GET", "/models/fraud/aliases/champion/at?at=0001-01-01", None, 400, "at"),
        ("GET", "/models/fraud/aliases/champion/at?at_ns=-1", None, 400, "at_ns"),
        ("GET", f"/models/fraud/aliases/champion/at?at_ns={2**63}", None, 400, "at_ns"),
        ("GET", "/models/fraud/aliases/champion/at?at_ns=x", None, 400, "at_ns"),
        ("GET", "/compare", None, 400, "left"),
        ("GET", "/compare?left=fraud", None, 400, "right"),
        ("GET", "/compare?left=fraud&right=nobody", None, 404, "right"),
        ("GET", "/compare?left=fraud&left=fraud&right=fraud", None, 400, "left"),
        ("GET", "/models?page=2", None, 400, "page"),
        ("POST", "/collect?now=1", None, 400, "now"),
        ("PUT", "/models/fraud/aliases/Ch!", {"version": "1.0.0"}, 400, "alias"),
        ("PUT", "/models/fraud/aliases/champion", {"version": "9.9.9"}, 404, "version"),
        ("PUT", "/models/fraud/aliases/champion", {"version": "latest"}, 400, "version"),
        ("PUT", "/models/fraud/aliases/champion", {"version": 1}, 400, "version"),
        ("PUT", "/models/fraud/aliases/champion", {}, 400, "version"),
        ("PUT", "/models/fraud/aliases/champion", [], 400, None),
        ("PUT", "/models/fraud/aliases/champion", {"version": "1.0.0", "x": 1}, 400, "x"),
        (
            "PUT",
            "/models/fraud/aliases/champion",
            {"version": "1.0.0", "reason": "\ud800"},
            400,
            "reason",
        ),
        ("PUT", "/versions/fraud/annotations", {"tags": "x"}, 400, "tags"),
        ("PUT", "/versions/fraud/annotations", {"tags": [1]}, 400, "tags[0]"),
        ("PUT", "/versions/fraud/annotations", {"labels": {"a": None}}, 400, "labels.a"),
        ("PUT", "/versions/fraud/annotations", {"labels": {"a\0": "x"}}, 400, "labels"),
        ("DELETE", "/models/fraud/aliases/nobody", None, 404, "alias"),
        ("DELETE", "/versions/nobody", None, 404, "ref"),
        ("DELETE", "/versions/fraud", None, 409, "ref"),
        ("POST", "/versions/nobody/verify", None, 404, "ref"),
        ("GET", "/nothing", None, 404, None),
        ("GET", "/models/", None, 404, None),
        ("PATCH", "/models", None, 405, None),
    ],
)
def test_mistakes_name_their_field_and_change_nothing(unchanged, method, path, body, status, field):
    factory = unchanged.factory
    before = (factory.models(), factory.history("fraud"), factory.versions("fraud"))
    content = None if body is None else json.dumps(body)
    kind = {} if body is None else {"content-type": "application/json"}
    answer = unchanged.client.request(method, API + path, content=content, headers=kind)
    problem(answer, status, field)
    assert (factory.models(), factory.history("fraud"), factory.versions("fraud")) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"nonsense", b"[" * 100_000, b'{"version": NaN}', b'{"a": 1e999}', b"1"],
)
def test_bodies_that_are_no_json(unchanged, content):
    answer = unchanged.client.put(
        f"{API}/models/fraud/aliases/champion",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_sent_as_something_else_is_refused(unchanged, kind):
    answer = unchanged.client.put(
        f"{API}/models/fraud/aliases/champion", content=b"{}", headers={"content-type": kind}
    )
    problem(answer, 400, "Content-Type")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidError("m", field="f"), 400),
        (errors.RefusedError("m", field="f"), 422),
        (errors.NotFoundError("m", field="f"), 404),
        (errors.ConflictError("m", field="f"), 409),
        (errors.UnsupportedError("m", field="f"), 422),
        (errors.UnavailableError("m", field="f", retry_after=7), 503),
        (errors.DeadlineError("m", field="f"), 504),
        (errors.CorruptError("m", field="f"), 500),
        (errors.CrashedError("m", field="f"), 500),
        (errors.ModelworksError("m", field="f"), 500),
    ],
)
def test_every_error_has_its_status(unchanged, monkeypatch, error, status):
    def fail():
        raise error

    monkeypatch.setattr(unchanged.factory, "models", fail)
    answer = unchanged.client.get(f"{API}/models")
    problem(answer, status, "f", type(error).__name__)
    retry = str(error.retry_after) if isinstance(error, errors.UnavailableError) else None
    assert answer.headers.get("retry-after") == retry


def test_a_missing_library_is_told_with_its_command(unchanged, monkeypatch):
    def fail():
        raise errors.MissingExtraError("importer 'torch'", "torch", "torch")

    monkeypatch.setattr(unchanged.factory, "models", fail)
    body = problem(unchanged.client.get(f"{API}/models"), 501, kind="MissingExtraError")
    assert (body["extra"], body["missing"]) == ("torch", "torch")
    assert 'pip install "modelworks[torch]"' in body["detail"]


def test_a_fault_of_ours_leaks_nothing(unchanged, monkeypatch):
    def fail():
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(unchanged.factory, "models", fail)
    answer = unchanged.client.get(f"{API}/models")
    problem(answer, 500)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_the_description_is_complete(unchanged):
    document = unchanged.client.get(f"{API}/openapi.json").json()
    text = json.dumps(document)
    refs = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert refs == document["components"]["schemas"].keys()
    assert "Snapshot" not in refs  # of an app for gateways, whatever ran in this process before
    assert "HTTPValidationError" not in text
    operations = [op for path in document["paths"].values() for op in path.values()]
    assert len({op["operationId"] for op in operations}) == len(operations) == 30
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert "default" in operation["responses"]


def test_no_page_loads_scripts_from_elsewhere(unchanged):
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert unchanged.client.get(path).status_code == 404
