"""API keys at the control plane, and the console's sessions, in-process."""

import re
import warnings

import pytest
from starlette.exceptions import StarletteDeprecationWarning

from modelworks.api.app import create_app
from modelworks.console.pages import install
from modelworks.control.access import COOKIE, MOST, SESSION_S, Access
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.errors import ForbiddenError, UnauthenticatedError
from modelworks.core.home import Home
from modelworks.core.key_file import KeyFile
from modelworks.core.keys import Role, new_key
from modelworks.edge.key_ring import KeyRing

with warnings.catch_warnings():  # it would rather have a successor of the httpx that we pin
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

pytestmark = pytest.mark.unit
API = "/api/v1"
HTML = {"accept": "text/html"}
CHANGES = (
    ("PUT", f"{API}/models/fraud/aliases/champion"),
    ("DELETE", f"{API}/versions/fraud"),
    ("POST", f"{API}/collect"),
    ("POST", f"{API}/imports"),
)
LOOKS = (f"{API}/models", f"{API}/openapi.json", f"{API}/endpoints", "/", "/console/live")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A file of three keys, and the keys."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    return path, {role: KeyFile(path).add(role.value, role) for role in Role}


@pytest.fixture
def ring(held):
    return KeyRing(held[0])


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def access(ring, clock):
    return Access(ring, lambda: clock[0])


@pytest.fixture
def client(tmp_path, access):
    with Factory(Home(tmp_path / "home")) as factory:
        watch = Watch(factory.home)
        app = create_app(factory, watch, access=access)
        install(app, factory, watch, factory.watching, access)
        url = "https://127.0.0.1"
        with TestClient(app, url, raise_server_exceptions=False) as client:
            client.follow_redirects = False
            yield client
        watch.close()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def sign_in(client, key, **headers):
    return client.post("/console/login", data={"key": key}, headers=headers)


# -- keys by header


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic x", "Bearer \xff", None])
@pytest.mark.parametrize(("method", "path"), [("GET", path) for path in LOOKS] + list(CHANGES))
def test_without_a_good_key_nothing_is_done(client, header, method, path):
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="modelworks"'
    assert answer.json()["kind"] == "UnauthenticatedError"
    assert answer.headers["Connection"] == "close"


def test_roles(client, held):
    for role, key in held[1].items():
        looks = [client.get(path, headers=bearer(key)).status_code for path in LOOKS]
        changes = [client.request(*change, headers=bearer(key)).status_code for change in CHANGES]
        assert looks == [403 if role is Role.PREDICT else 200] * len(LOOKS)
        if role is Role.ADMIN:
            assert not {401, 403} & set(changes)  # let through: wrong for other reasons
        else:
            assert changes == [403] * len(CHANGES)


def test_two_keys_in_one_request_are_none(client, held):
    good = held[1][Role.ADMIN]
    twice = [(b"Authorization", f"Bearer {good}".encode())] * 2
    assert client.get(f"{API}/models", headers=twice).status_code == 401


def test_what_is_open(client):
    assert client.get(f"{API}/health").status_code == 200
    assert client.get("/console/static/console.css").status_code == 200
    assert client.get("/console/login").status_code == 200
    for path in (f"{API}/health/", f"{API}//health", "/console/static", "/console/login/"):
        assert client.get(path).status_code == 401


def test_the_guard_stands_in_front(client, held):
    key = bearer(held[1][Role.ADMIN])
    for foreign in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert client.post(f"{API}/collect", headers={**key, **foreign}).status_code == 403


def test_the_description_says_that_keys_are_asked_for(client, held):
    document = client.get(f"{API}/openapi.json", headers=bearer(held[1][Role.READ])).json()
    assert document["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{"key": []}]


def test_a_revoked_key(client, ring, tmp_path):
    file = KeyFile(ring._path)
    key = file.add("short", Role.READ)
    ring.look()
    assert client.get(f"{API}/models", headers=bearer(key)).status_code == 200
    assert sign_in(client, key).status_code == 303
    assert client.get("/", headers=HTML).status_code == 200
    file.revoke("short")
    ring.look()
    assert client.get(f"{API}/models", headers=bearer(key)).status_code == 401
    assert client.get("/", headers=HTML).headers["Location"] == "/console/login"


# -- browsers


def test_a_browser_signs_in_looks_and_signs_out(client, held):
    shown = client.get("/", headers=HTML)
    assert (shown.status_code, shown.headers["Location"]) == (303, "/console/login")
    form = client.get("/console/login")
    policy = form.headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy
    assert form.headers["Referrer-Policy"] == "same-origin"
    assert re.search(r'<input[^>]*type="password"', form.text)
    answer = sign_in(client, held[1][Role.READ], Origin="https://127.0.0.1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", f"Max-Age={SESSION_S}"):
        assert word in cookie
    assert held[1][Role.READ] not in cookie
    page = client.get("/", headers=HTML)
    assert page.status_code == 200
    assert "Sign out" in page.text
    before = client.cookies[COOKIE]
    assert client.post("/console/logout").headers["Location"] == "/console/login"
    assert COOKIE not in client.cookies
    old = client.get("/", headers={**HTML, "Cookie": f"{COOKIE}={before}"})
    assert old.headers["Location"] == "/console/login"


@pytest.mark.parametrize("role", [Role.READ, Role.ADMIN])
def test_a_session_only_looks(client, held, role):
    assert sign_in(client, held[1][role]).status_code == 303
    assert client.get(f"{API}/models").status_code == 200
    for method, path in CHANGES:
        assert client.request(method, path).status_code == 403


def test_a_header_counts_more_than_a_session(client, held):
    sign_in(client, held[1][Role.READ])
    assert client.get(f"{API}/models", headers=bearer("wrong")).status_code == 401
    key = bearer(held[1][Role.ADMIN])
    assert client.post(f"{API}/collect", headers=key).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"key=",
        b"key=nonsense",
        b"key=%ff%fe",
        b"\xff",
        b"key=a&key=b&key=c&key=d&key=e",
        b"key=" + b"a" * 5000,
        b"other=x",
    ],
)
def test_what_does_not_sign_in(client, body):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/console/login", content=body, headers=kind)
    assert answer.status_code in {400, 401}
    assert "Set-Cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert "nonsense" not in answer.text


def test_other_ways_of_sending_a_key_sign_nobody_in(client, held):
    key = held[1][Role.ADMIN]
    answers = (
        client.post("/console/login", json={"key": key}),
        client.post("/console/login", params={"key": key}),
        sign_in(client, held[1][Role.PREDICT]),
        sign_in(client, key, Origin="https://evil.example"),
        sign_in(client, key, **{"Sec-Fetch-Site": "cross-site"}),
    )
    assert [answer.status_code for answer in answers] == [400, 400, 401, 403, 403]
    assert all("Set-Cookie" not in answer.headers for answer in answers)


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        COOKIE,
        f"{COOKIE}=",
        f"{COOKIE}=x",
        f'{COOKIE}="\\377"',
        "a" * 10_000,
        f"{COOKIE}=x; " * 300,
        "=;=;\x7f",
    ],
)
def test_cookies_that_are_no_session(client, cookie):
    assert client.get(f"{API}/models", headers={"Cookie": cookie}).status_code == 401


# -- sessions


def test_a_session_ends(access, held, clock):
    session = access.begin(held[1][Role.READ])
    assert access.require(None, session, Role.READ).name == "read"
    with pytest.raises(ForbiddenError):
        access.require(None, session, Role.ADMIN)
    clock[0] = SESSION_S + 1.0
    with pytest.raises(UnauthenticatedError):
        access.require(None, session, Role.READ)


def test_sessions_are_bounded(access, held):
    sessions = [access.begin(held[1][Role.READ]) for _ in range(MOST + 1)]
    assert len(set(sessions)) == MOST + 1
    assert access.require(None, sessions[-1], Role.READ)
    with pytest.raises(UnauthenticatedError):
        access.require(None, sessions[0], Role.READ)


def test_no_session_for_strangers(access, held):
    for key in (new_key(), "", "\udcff", held[1][Role.PREDICT]):
        assert access.begin(key) is None
    access.end("nonsense")
