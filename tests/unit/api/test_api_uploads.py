"""A model file over HTTP: what arrives at the factory, and what is refused before it."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.core import codec
from modelworks.core.errors import RefusedError
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.semver import Semver

pytestmark = pytest.mark.unit

PATH = "/api/v1/imports"


@pytest.fixture
def client(unchanged):
    return unchanged.client


@pytest.fixture
def factory(unchanged):
    return unchanged.factory


@pytest.fixture
def home(factory):
    return factory.home


@pytest.fixture
def arrived(factory, monkeypatch):
    """What `take_in` is called with; the sandbox has its own tests."""
    version = factory.show("fraud")
    calls = []

    def take_in(request, progress=None):
        files = [request.file, request.options.sample]
        factory_file = request.options.factory.rpartition(":")[0]
        files.append(Path(factory_file) if factory_file else None)
        calls.append((request, [path and path.read_bytes() for path in files]))
        return version

    monkeypatch.setattr(factory, "take_in", take_in)
    return calls


def wire(**more):
    return json.dumps(codec.encode(ImportRequest(Path("m.joblib"), "fraud")) | more)


def post(client, request, **files):
    parts = {name: (filename, content) for name, (filename, content) in files.items()}
    return client.post(PATH, data={} if request is None else {"request": request}, files=parts)


def test_everything_arrives(client, arrived, home):
    options = ImportOptions(sample=Path("s.csv"), factory="net.py:build", trust=True, seed=3)
    answer = post(
        client,
        wire(version="1.4.0", options=codec.encode(options), labels={"team": "risk"}, run="r1"),
        file=("m%20%C3%A4.joblib", b"model bytes"),
        sample=("s.csv", b"a,b"),
        factory=("net.py", b"def build(): ..."),
    )
    assert answer.status_code == 201, answer.text
    ((request, contents),) = arrived
    assert contents == [b"model bytes", b"a,b", b"def build(): ..."]
    assert request.file.name == "m ä.joblib"
    assert request.options.sample.name == "s.csv"
    assert request.options.factory.endswith("net.py:build")
    assert (request.version, request.labels, request.run) == (
        Semver(1, 4, 0),
        {"team": "risk"},
        "r1",
    )
    assert replace(request.options, sample=None, factory="") == ImportOptions(trust=True, seed=3)
    assert list(home.run.iterdir()) == []  # nothing of it stays


@pytest.mark.parametrize(
    ("request_part", "files", "field"),
    [
        (None, {"file": ("m", b"x")}, "request"),
        ("{", {"file": ("m", b"x")}, "request"),
        ("[" * 100_000, {"file": ("m", b"x")}, "request"),
        ("[]", {"file": ("m", b"x")}, None),
        ("{}", {"file": ("m", b"x")}, "file"),
        (wire(nonsense=1), {"file": ("m", b"x")}, "nonsense"),
        (wire(version="1"), {"file": ("m", b"x")}, "version"),
        (wire(options={"seed": "x"}), {"file": ("m", b"x")}, "options.seed"),
        (wire(options={"sample": "s.csv"}), {"file": ("m", b"x")}, "sample"),
        (wire(options={"factory": "net.py:build"}), {"file": ("m", b"x")}, "factory"),
        (wire(options={"steps": "s.yaml"}), {"file": ("m", b"x")}, "steps"),
        (wire(), {"sample": ("s", b"x")}, "file"),
        (wire(), {"file": ("m", b"x"), "extra": ("e", b"x")}, "extra"),
        (wire(), {"file": ("..", b"x")}, "file"),
        (wire(), {"file": ("%2e%2e", b"x")}, "file"),
        (wire(), {"file": ("a%00b", b"x")}, "file"),
        (wire(), {"file": ("x" * 201, b"x")}, "file"),
    ],
)
def test_forms_that_are_wrong(client, arrived, home, request_part, files, field):
    answer = post(client, request_part, **files)
    assert answer.status_code == 400, answer.text
    assert answer.json().get("field") == field
    assert arrived == []
    assert list(home.run.iterdir()) == []


@pytest.mark.parametrize("filename", ["../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd"])
def test_a_file_name_cannot_leave_its_folder(client, arrived, filename):
    assert post(client, wire(), file=(filename, b"x")).status_code == 201
    assert arrived[0][0].file.name == "passwd"
    assert Path("/etc/passwd").read_bytes() != b"x"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data; boundary=b"),
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
        (b"{}", "application/json"),
        (b"a=b", "application/x-www-form-urlencoded"),
    ],
)
def test_bodies_that_are_no_form(client, arrived, content, kind):
    answer = client.post(PATH, content=content, headers={"content-type": kind})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_parts(client, arrived):
    files = [("file", (f"{i}", b"x")) for i in range(9)]
    answer = client.post(PATH, data={"request": wire()}, files=files)
    assert answer.status_code == 400


def test_a_refusal_is_told(client, factory, monkeypatch):
    def take_in(*_):
        raise RefusedError("m.pkl calls os.system", field="file")

    monkeypatch.setattr(factory, "take_in", take_in)
    answer = post(client, wire(), file=("m.pkl", b"x"))
    assert (answer.status_code, answer.json()["detail"]) == (422, "m.pkl calls os.system")


def test_more_imports_than_may_are_answered_503(client, factory, monkeypatch):
    version = factory.show("fraud")
    inside, leave = threading.Event(), threading.Event()

    def take_in(*_):
        inside.set()
        assert leave.wait(20)
        return version

    monkeypatch.setattr(factory, "take_in", take_in)
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(post(client, wire(), file=("m", b"x")).status_code)
    )
    first.start()
    assert inside.wait(20)
    busy = post(client, wire(), file=("m", b"x"))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert client.get("/api/v1/models").status_code == 200  # the rest goes on
    leave.set()
    first.join(20)
    assert answers == [201]
    assert post(client, wire(), file=("m", b"x")).status_code == 201  # the slot is free again
