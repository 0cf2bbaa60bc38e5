"""Routes inside real server processes: split, keys, limits, shadows, changes under load."""

import base64
import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import replace

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scipy.stats import chisquare

from modelworks.core.codec import encode
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role
from modelworks.core.routes import (
    Arm,
    Limit,
    Pass,
    Route,
    Shadow,
    Snapshot,
    Source,
    Sticky,
    Tokens,
)
from modelworks.core.served import ServedModel
from modelworks.protocol.routes import RoutePolicy, spans
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server, serve_list
from recording_server import records

pytestmark = pytest.mark.real
INFER = "/v2/models/double/infer"
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]}]}
ARMS = (Arm("old", "double", "1.0.0"), Arm("new", "double", "2.0.0"))
HALF = {"old": 0.5, "new": 0.5}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Two versions of a model that doubles and trebles, and another model."""
    folder = tmp_path_factory.mktemp("models")
    lines = [
        ServedModel(
            "double",
            version,
            str(models.double(folder / f"{version}.onnx", factor=by)),
            digest="",
            default=version == "1.0.0",
        )
        for version, by in (("1.0.0", 2.0), ("2.0.0", 3.0))
    ]
    other = models.double(folder / "other.onnx", factor=5.0)
    lines.append(ServedModel("other", "1.0.0", str(other), digest=""))
    return serve_list(folder / "list.json", lines)


def route(shares=None, **said):
    return Route(
        "fraud", said.pop("arms", ARMS), spans((), shares or HALF), **{"model": "double", **said}
    )


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


class File:
    """A file of routes."""

    def __init__(self, path):
        self.path = path
        self.generation = 0

    def write(self, *routes, **said):
        self.generation += 1
        text = orjson.dumps(encode(Snapshot(self.generation, routes, **said)))
        self.spoil(text)

    def spoil(self, text):
        new = self.path.with_suffix(".new")
        new.write_bytes(text)
        new.replace(self.path)


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "routes.json")


class Caller:
    def __init__(self, server):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    def __del__(self):
        self._connection.close()

    def ask(self, path=INFER, body=BODY, method="POST", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, named)
        answer = self._connection.getresponse()
        text = answer.read()
        said = json.loads(text) if text.startswith(b"{") else text.decode()
        self.headers = dict(answer.getheaders())
        return answer.status, said

    def version(self, **headers):
        status, said = self.ask(**headers)
        assert status == 200, said
        assert said["outputs"][0]["data"][0] == {"1.0.0": 2.0, "2.0.0": 3.0}[said["model_version"]]
        return said["model_version"]

    def metric(self, name, **labels):
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        text = self.ask("/metrics", None, "GET")[1]
        return sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.partition(" ")[0].partition("{")[0] == name and all(w in line for w in wanted)
        )


@contextlib.contextmanager
def serving(listed, file, *more):
    with Server(["--served", str(listed), "--routes", str(file.path), *more]) as server:
        yield Caller(server), server


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("workers", [1, 2])
def test_split_sticky_and_override(listed, file, workers):
    written = route(sticky=Sticky(Source.HEADER, "x-user"), override="x-arm")
    file.write(written)
    policy = RoutePolicy(written)
    with serving(listed, file, "--workers", str(workers)) as (caller, _):
        for number in range(60):
            arm = policy.choose({b"x-user": b"user-%d" % number})
            assert caller.version(X_User=f"user-{number}") == arm.version
        found = Counter(caller.version() for _ in range(600))
        assert chisquare([found["1.0.0"], found["2.0.0"]])[1] > 1e-6
        assert {caller.version(X_Arm="new") for _ in range(20)} == {"2.0.0"}
        status, said = caller.ask(X_Arm="gone")
        assert (status, said["field"]) == (404, "x-arm")
        rows = {"rows": [[1.0, 2.0, 3.0]]}
        assert caller.ask("/predict/double", rows, X_Arm="new")[1]["version"] == "2.0.0"
        fixed = caller.ask("/v2/models/double/versions/1.0.0/infer", X_Arm="new")[1]
        assert fixed["model_version"] == "1.0.0"  # who names a version gets it
        assert caller.ask("/v2/models/other/infer")[1]["outputs"][0]["data"][0] == 5.0
        asked = [
            caller.metric(
                "modelworks_route_requests_total", route="fraud", arm=arm, outcome="asked"
            )
            for arm in ("old", "new")
        ]
        assert sum(asked) == 60 + 600 + 20 + 1
        refused = caller.metric("modelworks_route_refusals_total", reason="not_found")
        assert refused == 1


def test_by_cookie_by_field_and_by_host(listed, file):
    by_cookie = route(sticky=Sticky(Source.COOKIE, "sid"), host="cookie.example.com")
    by_field = replace(
        by_cookie, name="field", host="*.field.com", sticky=Sticky(Source.FIELD, "user")
    )
    file.write(by_cookie, by_field)
    cookies, fields = RoutePolicy(by_cookie), RoutePolicy(by_field)
    with serving(listed, file) as (caller, _):
        for number in range(30):
            arm = cookies.choose({b"cookie": b"sid=%d" % number})
            got = caller.version(Host="cookie.example.com", Cookie=f"a=b; sid={number}")
            assert got == arm.version
            body = BODY | {"parameters": {"user": f"u{number}"}}
            arm = fields.choose({}, f"u{number}")
            assert caller.ask(body=body, Host="a.field.com")[1]["model_version"] == arm.version
        assert caller.ask(Host="elsewhere.com")[0] == 404


def test_a_name_that_only_routes_know(listed, file):
    file.write(route({"old": 1.0}, model="virtual", arms=ARMS))
    with serving(listed, file) as (caller, _):
        assert caller.ask("/v2/models/virtual/infer")[1]["model_name"] == "double"
        assert caller.ask("/v2/models/virtual", None, "GET")[1]["name"] == "double"
        assert caller.ask("/v2/models/virtual/ready", None, "GET")[0] == 200
        assert caller.ask("/v2/models/nothing/infer")[0] == 404


def test_keys_models_and_tenants(listed, file, tmp_path):
    keys = {
        digest("all"): Pass("all"),
        digest("one"): Pass("one", models=("oth*",)),
        digest("acme"): Pass("acme", tenant="acme"),
        digest("over"): Pass("over", until_ns=1),
    }
    file.write(route(), keys=keys)
    ops = KeyFile(tmp_path / "keys").add("ops", Role.ADMIN)
    with serving(listed, file, "--keys", str(tmp_path / "keys")) as (caller, _):
        for path, method in (
            (INFER, "POST"),
            ("/v2/models/double", "GET"),
            ("/v2", "GET"),
            ("/v2/models/double/versions/2.0.0/infer", "POST"),
            ("/predict/other", "POST"),
            ("/v2/repository/index", "POST"),
            ("/v2/models/%64ouble/infer", "POST"),
        ):
            for given in ({}, bearer("no"), bearer("over"), {"Authorization": "all"}):
                assert caller.ask(path, BODY, method, **given)[0] == 401, path
        assert caller.headers["WWW-Authenticate"].startswith("Bearer")
        assert caller.ask("/v2/health/ready", None, "GET")[0] == 200
        assert caller.version(**bearer("all")) in {"1.0.0", "2.0.0"}
        assert caller.version(**bearer(ops)) in {"1.0.0", "2.0.0"}
        assert caller.ask("/v2/models/other/infer", **bearer("one"))[0] == 200
        for path, method in (
            (INFER, "POST"),
            ("/v2/models/double", "GET"),
            ("/v2/models/double/versions/2.0.0/infer", "POST"),
            ("/v2/models/double/explain", "POST"),
        ):
            status, said = caller.ask(path, BODY, method, **bearer("one"))
            assert status == 403, path
            assert "it opens: oth*" in said["error"]
        for path in (INFER, "/v2/models/other/infer"):
            assert caller.ask(path, **bearer("acme"))[0] == 404  # not theirs, and not told of
        load = "/v2/repository/models/double/load"
        assert caller.ask(load, {}, **bearer("all"))[0] == 403
        assert caller.ask("/v2/models/stats", None, "GET", **bearer("all"))[0] == 403
        assert caller.ask(load, {}, **bearer(ops))[0] == 200
        # A body that is not here yet is not waited for.
        caller._connection.putrequest("POST", INFER)
        caller._connection.putheader("Content-Length", "1000000")
        caller._connection.endheaders()
        assert caller._connection.getresponse().status == 401


def test_a_key_of_the_servers_own_that_is_revoked_is_out(listed, file, tmp_path):
    own = KeyFile(tmp_path / "keys")
    first, second = own.add("first", Role.PREDICT), own.add("second", Role.PREDICT)
    file.write()  # no routes at all
    with serving(listed, file, "--keys", str(tmp_path / "keys")) as (caller, _):
        for key in (first, second, first):
            assert caller.version(**bearer(key)) == "1.0.0"
        assert caller.ask()[0] == 401
        own.revoke("first")
        until(lambda: caller.ask(**bearer(first))[0] == 401)
        assert caller.version(**bearer(second)) == "1.0.0"
        assert caller.ask("/v2/repository/models/double/load", {}, **bearer(second))[0] == 403


def test_limits_are_of_all_workers_together(listed, file):
    limit = Limit(quota=50, quota_s=3600.0)
    keys = {digest("k"): Pass("shop", limit=limit), digest("free"): Pass("free")}
    file.write(route(), keys=keys)
    with serving(listed, file, "--workers", "2") as (_, server):
        statuses = []
        for _ in range(12):  # connections of their own: both workers get some
            one = Caller(server)
            statuses += [one.ask(**bearer("k"))[0] for _ in range(10)]
        assert Counter(statuses) == {200: 50, 429: 70}
        assert int(one.headers["Retry-After"]) > 3000
        assert one.ask(**bearer("free"))[0] == 200
        # Another generation forgets nothing.
        file.write(route(), keys=keys)
        until(lambda: one.metric("modelworks_route_generation") == 2)
        assert one.ask(**bearer("k"))[0] == 429
        rest = [one.ask("/v2/models/double/explain", {}, **bearer("k"))[0]]
        assert rest == [429]  # other ways to ask the model count too


SPELLINGS = (
    INFER,
    f"{INFER}/",
    "/v2/models/double/%69nfer",
    "/v2/models/%64ouble/infer",
    "/%76%32/models/double/infer",
    "/v2/m%6Fdels/double/infer/",
    "/v2/models/double/versions/1.0.0/infer",
    "/v2/models/double/versions/1.0.0/infer/",
    "/v2/models/double/versions/1%2E0%2E0/%69nfer",
)


def test_no_spelling_of_a_path_goes_round_its_route(listed, file):
    limit = Limit(quota=5, quota_s=3600.0)
    file.write(route({"new": 1.0}))
    with serving(listed, file) as (caller, _):
        for path in SPELLINGS:
            said = caller.ask(path)[1]
            assert said["model_version"] == ("1.0.0" if "versions" in path else "2.0.0"), path
        file.write(route({"new": 1.0}, limit=limit))
        until(lambda: caller.metric("modelworks_route_generation") == 2)
        statuses = [caller.ask(path)[0] for path in SPELLINGS]
        assert statuses == [200] * 5 + [429] * 4
        file.write(route({"new": 1.0}, limit=limit), keys={digest("k"): Pass("k", models=("x",))})
        until(lambda: caller.ask()[0] == 401)
        assert {caller.ask(path)[0] for path in SPELLINGS} == {401}
        assert {caller.ask(path, **bearer("k"))[0] for path in SPELLINGS} == {403}
        for path in ("/v2/models/st%61ts", "/v2/models/stats/", "/v2/%72epository/index"):
            assert caller.ask(path, None, "GET", **bearer("k"))[0] == 403


def test_changes_under_load_lose_no_request_and_bad_ones_are_refused(listed, file):
    file.write(route({"old": 1.0}))
    with serving(listed, file) as (caller, server):
        over, trouble, seen = threading.Event(), [], Counter()

        def load():
            one = Caller(server)
            while not over.is_set():
                try:
                    seen[one.version()] += 1
                except Exception as error:  # noqa: BLE001 - told below
                    trouble.append(error)
                    return

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        file.write(route({"new": 1.0}))
        until(lambda: caller.version() == "2.0.0")
        for text in (b"", b"{", b'{"generation": 9, "routes": [{"name": "x"}]}'):
            file.spoil(text)
            until(lambda: caller.metric("modelworks_route_problem") == 1)
        assert caller.version() == "2.0.0"
        assert "the last good ones stay" in server.log
        many = [route({"old": 1.0})]
        many += [replace(many[0], name=f"r{n}", model=f"m{n}") for n in range(1, 1000)]
        keys = {digest(f"k{n}"): Pass(f"k{n}") for n in range(10_000)}
        for _ in range(2):
            file.write(*many)
            until(lambda: caller.version() == "1.0.0")
            file.write(route({"new": 1.0}))
            until(lambda: caller.version() == "2.0.0")
        over.set()
        for thread in threads:
            thread.join()
        assert not trouble
        assert seen["1.0.0"]
        assert seen["2.0.0"]
        file.write(*many, keys=keys)
        until(lambda: caller.ask()[0] == 401)
        assert caller.version(**bearer("k9999")) == "1.0.0"


def test_a_server_that_starts_on_a_broken_file_goes_by_the_last_good_one(listed, file):
    file.write(route({"new": 1.0}))
    with serving(listed, file):
        pass
    file.spoil(b"broken")
    with serving(listed, file) as (caller, server):
        assert caller.version() == "2.0.0"
        assert "are not used" in server.log
        assert caller.metric("modelworks_route_problem") == 1
        file.write(route({"old": 1.0}))
        until(lambda: caller.version() == "1.0.0")
        assert caller.metric("modelworks_route_problem") == 0
    file.path.with_name(".routes.json.good").unlink()
    file.spoil(b"broken")
    with pytest.raises(RuntimeError, match="no JSON"), serving(listed, file):
        pass


def test_a_worker_that_is_killed_comes_back_to_its_routes_and_limits(listed, file):
    keys = {digest("k"): Pass("shop", limit=Limit(quota=10, quota_s=3600.0))}
    file.write(route({"new": 1.0}), keys=keys)
    with serving(listed, file, "--workers", "2") as (caller, server):
        assert [caller.ask(**bearer("k"))[0] for _ in range(11)] == [200] * 10 + [429]
        file.spoil(b"broken")
        import psutil

        for child in psutil.Process(server.pid).children():
            if "modelworks.apps.server" in " ".join(child.cmdline()):
                child.kill()

        def refused_again():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return Caller(server).ask(**bearer("k"))[0] == 429
            return False

        until(refused_again, 40)


def test_fallback_and_an_arm_that_is_not_here(listed, file):
    arms = (Arm("old", "double", "1.0.0"), Arm("gone", "double", "9.0.0"))
    half = {"old": 0.5, "gone": 0.5}
    file.write(route(half, arms=arms, fallback="old", override="x-arm"))
    with serving(listed, file) as (caller, _):
        assert {caller.version() for _ in range(20)} == {"1.0.0"}
        assert (
            caller.metric(
                "modelworks_route_requests_total", route="fraud", arm="gone", outcome="fallback"
            )
            > 0
        )
        file.write(route(half, arms=arms, override="x-arm"))
        until(lambda: caller.ask(X_Arm="gone")[0] == 503)
        assert "not on this server's list" in caller.ask(X_Arm="gone")[1]["error"]
        assert caller.version(X_Arm="old") == "1.0.0"


def test_shadows_get_copies_and_callers_their_own_answers(listed, file):
    shadows = (Shadow("new", 1.0),)
    file.write(route({"old": 1.0}, shadows=shadows))
    with serving(listed, file) as (caller, _):
        for _ in range(30):
            assert caller.version() == "1.0.0"
            time.sleep(0.01)
        labels = {"route": "fraud", "arm": "new"}
        until(
            lambda: (
                caller.metric("modelworks_route_copies_total", **labels, outcome="answered") >= 25
            )
        )
        assert caller.metric("modelworks_route_requests_total", **labels, outcome="asked") == 0
        wrong = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": ["a"]}]}
        assert caller.ask(body=wrong)[0] == 400
        until(
            lambda: caller.metric("modelworks_route_copies_total", **labels, outcome="failed") == 1
        )


def test_lazy_models_are_loaded_for_their_arm(listed, file):
    file.write(route(override="x-arm"))
    with serving(listed, file, "--lazy") as (caller, _):
        assert caller.version(X_Arm="new") == "2.0.0"
        assert caller.version(X_Arm="old") == "1.0.0"


def test_records_tell_the_arm_and_the_caller_and_pair_shadows_with_requests(listed, file, tmp_path):
    keys = {digest("k"): Pass("shop")}
    file.write(route({"old": 1.0}, override="x-arm", shadows=(Shadow("new", 1.0),)), keys=keys)
    folder = tmp_path / "records"
    more = ["--records", str(folder), "--record", "1", "--access-log", str(tmp_path / "log")]
    with serving(listed, file, *more) as (caller, _):
        caller.version(**bearer("k"), X_Request_Id="q-1")
        until(
            lambda: (
                caller.metric(
                    "modelworks_route_copies_total", route="fraud", arm="new", outcome="answered"
                )
                == 1
            )
        )
        caller.version(**bearer("k"), X_Arm="new", X_Request_Id="q-2")
        caller.ask("/v2/models/double/versions/1.0.0/infer", **bearer("k"), X_Request_Id="q-3")
        caller.version(**bearer("k"))  # without an id: both get one
        until(lambda: caller.metric("modelworks_records_total", outcome="kept") == 6)
    found = {one.id: one for one in records(folder)}
    said = {name: (one.arm, one.version, one.caller) for name, one in found.items()}
    assert said["q-1"] == ("old", "1.0.0", "shop")
    assert said["q-1~new"] == ("new", "2.0.0", "shop")
    assert said["q-2"] == ("new", "2.0.0", "shop")
    assert said["q-3"] == ("", "1.0.0", "shop")
    made = {name for name in found if not name.startswith("q-")}
    (own,) = [name for name in made if "~" not in name]
    assert made == {own, f"{own}~new"}
    assert found["q-1~new"].inputs == found["q-1"].inputs
    assert found["q-1~new"].outputs != found["q-1"].outputs
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["key"] for line in lines if line["path"] == INFER] == ["shop"] * 3


def test_tokens(listed, file):
    signer = ed25519.Ed25519PrivateKey.generate()
    public = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    rules = Tokens({"k1": public.decode()}, issuer="https://issuer", models="models")
    file.write(route({"new": 1.0}), tokens=rules)

    def token(**more):
        said = {"sub": "joe", "iss": "https://issuer", "exp": time.time() + 60, "models": "double"}
        parts = [{"alg": "EdDSA", "kid": "k1"}, said | more]
        texts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in parts]
        signature = base64.urlsafe_b64encode(signer.sign(b".".join(texts))).rstrip(b"=")
        return b".".join([*texts, signature]).decode()

    with serving(listed, file, "--workers", "2") as (caller, server):
        assert caller.ask()[0] == 401
        for _ in range(4):
            assert Caller(server).version(**bearer(token())) == "2.0.0"
        status, said = caller.ask(**bearer(token(exp=time.time() - 60)))
        assert (status, "over" in said["error"]) == (401, True)
        assert caller.ask("/v2/models/other/infer", **bearer(token()))[0] == 403
        ends = token(exp=time.time() - 28.5)  # within the leeway for a second and a half
        assert caller.ask(**bearer(ends))[0] == 200
        until(lambda: caller.ask(**bearer(ends))[0] == 401)
        file.write(route({"new": 1.0}), tokens=replace(rules, issuer="https://other"))
        good = token()
        until(lambda: caller.ask(**bearer(good))[0] == 401)
