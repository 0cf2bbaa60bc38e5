"""The key gate: who passes, what the rest is told, changes of the file, what the log says."""

import json
import logging

import pytest

from edge_served import SMALL, Served
from exchanges.kinds import GET, POST, H, statuses
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.keys import Key, Role, digest_of
from modelworks.edge.access_lines import Form, Lines
from modelworks.edge.journal import Journal
from modelworks.edge.key_gate import KeyGate
from modelworks.edge.key_ring import KeyRing

pytestmark = pytest.mark.unit
GOOD, BAD = b"Authorization: Bearer good\r\n", b"Authorization: Bearer bad\r\n"


def line(name, key=b"good", role=Role.PREDICT):
    return f"{Key(name, role, digest_of(key))}\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys"
    path.write_text(line("ana"))
    return path


@pytest.fixture
def ring(path):
    ring = KeyRing(path)
    yield ring
    ring.close()


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def served(ring, journal):
    with Served(SMALL, journal=journal, keys=KeyGate(ring)) as served:
        yield served


def put(path, text):
    """Replace the file as editors and secret managers do."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def ask(served, *headers, path=b"/ok", method=b"GET"):
    data = served.talk(b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, path, H, b"".join(headers)))
    return statuses(data)[0], data


# -- who passes


def test_a_good_key_passes_and_its_neighbours_do_not(served):
    data = served.talk(
        b"".join(GET + header + b"\r\n" for header in (GOOD, b"", BAD, GOOD, b"", GOOD))
    )
    assert statuses(data) == [200, 401, 401, 200, 401, 200]
    assert len(served.seen) == 3


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Authorization:\r\n",
        b"Authorization: good\r\n",
        b"Authorization: Basic good\r\n",
        b"Authorization: Bearer\r\n",
        b"Authorization: Bearer \xff\xfe\r\n",
        b"Authorization: Bearer g\xc3\xb6od\r\n",
        b"Authorization: Bearer " + b"a" * 800 + b"\r\n",
        b"Authorization: Bearer good, good\r\n",
        BAD + GOOD,
        GOOD + BAD,
        GOOD + GOOD,
        b"Proxy-" + GOOD,
        b"X-API-Key: good\r\n",
        b"Cookie: key=good\r\n",
        b"X: " + GOOD,
    ],
)
def test_what_is_no_key(served, header):
    status, data = ask(served, header)
    assert status == 401
    assert b'WWW-Authenticate: Bearer realm="modelworks"\r\n' in data
    told = json.loads(data.partition(b"\r\n\r\n")[2])["error"]
    assert "good" not in told
    assert not served.seen


@pytest.mark.parametrize("target", [b"/v2/health/live", b"/v2/health/ready", b"/metrics"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_health_and_metrics_are_open(served, target, method):
    assert ask(served, path=target, method=method)[0] == 200
    assert ask(served, BAD, path=target + b"?x=1", method=method)[0] == 200


@pytest.mark.parametrize(
    ("target", "method"),
    [
        (b"/metrics", b"POST"),
        (b"/metrics/", b"GET"),
        (b"/metrics/../v2", b"GET"),
        (b"//metrics", b"GET"),
        (b"/%6detrics", b"GET"),
        (b"/v2/health/live%2f..", b"GET"),
        (b"/v2/health/live;x", b"GET"),
        (b"/V2/health/live", b"GET"),
        (b"/v2/health", b"GET"),
        (b"/v2/models/m/ready", b"GET"),
        (b"/", b"GET"),
        (b"*", b"OPTIONS"),
    ],
)
def test_every_other_spelling_needs_a_key(served, target, method):
    assert ask(served, path=target, method=method)[0] == 401
    assert ask(served, GOOD, path=target, method=method)[0] == 200


def test_who_has_no_key_need_not_send_the_body(served):
    """Else strangers could fill the memory that unfinished bodies share."""
    head = POST + b"Content-Length: 4000\r\n"
    with served.connect() as sock:
        sock.sendall(head + BAD + b"\r\n")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close\r\n" in answer
    with served.connect() as sock:
        sock.sendall(head + b"Expect: 100-continue\r\n" + BAD + b"\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")
    with served.connect() as sock:
        sock.sendall(head + b"Expect: 100-continue\r\n" + GOOD + b"\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    status = statuses(served.talk(POST + b"Transfer-Encoding: chunked\r\n" + BAD + b"\r\n3\r\n"))
    assert status == [401]


def test_without_keys_the_handler_is_called_itself(served):
    with Served(SMALL) as plain:
        assert plain.listener._handler == plain.handle
        assert plain.listener._hub.admit is None


# -- changes of the file


def test_a_revoked_key_fails_on_an_open_connection(served, ring, path):
    with served.connect() as sock:
        sock.sendall(GET + GOOD + b"\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        put(path, line("bob", b"other"))
        ring.look()
        sock.sendall(GET + GOOD + b"\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")
        sock.sendall(GET + b"Authorization: Bearer other\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_the_thread_sees_a_change(ring, path, served):
    ring.start()
    ring.start()
    put(path, line("bob", b"other"))
    served.until(lambda: ring.keys.entries[0].name == "bob")


def test_links_that_are_turned_round(tmp_path):
    """As Kubernetes replaces a secret: `..data` points to a folder of its own each time."""
    for number, name in enumerate(("ana", "bob")):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "keys").write_text(line(name))
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "keys").symlink_to("..data/keys")
    ring = KeyRing(tmp_path / "keys")
    (tmp_path / "..new").symlink_to("..1")
    (tmp_path / "..new").replace(tmp_path / "..data")
    ring.look()
    assert [key.name for key in ring.keys.entries] == ["bob"]


@pytest.mark.parametrize("broken", ["", "nonsense", "ana:predict:sha256:12", None])
def test_a_broken_file_leaves_the_last_keys_and_is_told_of_once(ring, path, broken, caplog):
    caplog.set_level(logging.INFO)
    if broken is None:
        path.unlink()
    else:
        put(path, broken)
    for _ in range(5):
        ring.look()
    assert ring.keys.find(b"Bearer good").name == "ana"
    assert caplog.text.count("the last ones stay") == 1
    put(path, line("bob"))
    ring.look()
    assert ring.keys.find(b"Bearer good").name == "bob"
    assert "has changed: 1 keys" in caplog.text


def test_a_file_of_comments_lets_nobody_in(ring, path):
    put(path, "# nobody\n")
    ring.look()
    assert ring.keys.find(b"Bearer good") is None


def test_a_server_does_not_begin_with_a_broken_file(tmp_path):
    with pytest.raises(NotFoundError):
        KeyRing(tmp_path / "none")
    (tmp_path / "keys").write_text("nonsense")
    with pytest.raises(InvalidError):
        KeyRing(tmp_path / "keys")


def test_refusals_are_told_of_seldom_and_without_a_key(ring, caplog, served):
    ring.start()
    for _ in range(20):
        ask(served, b"Authorization: Bearer sesame\r\n")
    served.until(lambda: "requests were refused" in caplog.text)
    assert "sesame" not in caplog.text
    assert caplog.text.count("were refused") == 1


# -- the access log


@pytest.mark.parametrize("form", [Form.JSON, Form.COMBINED])
def test_the_log_shows_a_keys_name(served, journal, ring, path, form):
    served.talk(GET + GOOD + b"\r\n" + GET + BAD + b"\r\n" + GET + b"\r\n")
    served.until(lambda: len(journal.entries) == 3)
    put(path, line("bob", b"other"))
    ring.look()  # a key that was good when it was used is still named
    lines = Lines(form, ring.name_of).write(journal.take(3)).decode().splitlines()
    assert "good" not in "".join(lines)
    assert "bad" not in "".join(lines)
    if form is Form.JSON:
        assert [json.loads(text).get("key") for text in lines] == ["ana", None, None]
    else:
        assert [text.split(" ")[2] for text in lines] == ["ana", "-", "-"]


def test_without_keys_a_line_is_as_it_was(served, journal):
    served.talk(GET + GOOD + b"\r\n")
    served.until(lambda: journal.entries)
    assert "key" not in json.loads(Lines(Form.JSON).write(journal.take(1)))
