"""Where jobs' inputs may come from and callbacks go to: hosts, addresses, sizes, times."""

import socket
import threading
import time

import pytest

from jobs_desk import Receiver
from modelworks.core.errors import InvalidError, RefusedError, UnavailableError
from modelworks.serving.jobs.outside import Outside

pytestmark = pytest.mark.unit
INNER = (
    "http://127.0.0.1/x",
    "http://127.1.2.3:8000/",
    "http://[::1]/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://[fec0::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://100.64.0.1/",
)
STRANGE = (
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "unix:///run/x.sock",
    "//example.com/",
    "javascript:alert(1)",
    "http:///x",
    "http://user:secret@example.com/",
    "http://exam ple.com/",
    "http://example.com:99999/",
    "http://example.com/\r\nX: y",
    "http://example.com/" + "x" * 3000,
    "http://ex\u00e4mple.com/",
    "",
)


@pytest.mark.parametrize("url", INNER)
@pytest.mark.parametrize("allowed", [(), ("*",), ("example.com",)])
def test_addresses_inside_are_refused_whatever_name_is_allowed(url, allowed):
    with pytest.raises(RefusedError, match="jobs_outside"):
        Outside(allowed).place(url, "Job-Inputs")


@pytest.mark.parametrize("url", STRANGE)
def test_what_is_no_plain_url_is_refused(url):
    with pytest.raises(InvalidError):
        Outside(("*", "0.0.0.0/0")).place(url, "Job-Inputs")


def test_names_are_held_to_the_list():
    outside = Outside(("Hooks.example.com", "*.store.example.com"))
    for host in ("hooks.example.com", "HOOKS.example.com.", "a.b.store.example.com"):
        assert (
            outside.place(f"https://{host}/x?token=1", "f")
            .host.lower()
            .startswith(host[:1].lower())
        )
    for host in (
        "example.com",
        "store.example.com",
        "evilstore.example.com",
        "hooks.example.com.evil.net",
    ):
        with pytest.raises(RefusedError, match="does not go to"):
            outside.place(f"https://{host}/x", "f")
    assert outside.place("https://hooks.example.com/x?token=1", "f").shown.endswith("/x")


def test_nothing_is_allowed_where_nothing_is_said():
    with pytest.raises(RefusedError, match="serve --jobs-outside"):
        Outside().place("https://example.com/", "f")


@pytest.mark.parametrize("entry", ["http://x/", "a/b", "", "*.", "a b", "10.0.0.0/40", "x:80"])
def test_what_is_no_host_and_no_network_is_no_setting(entry):
    with pytest.raises(InvalidError, match="no host"):
        Outside((entry,))


def test_a_name_that_stands_for_an_address_inside_is_refused_when_it_is_asked():
    outside = Outside(("localhost",))
    assert outside.place("http://localhost/", "f").host == "localhost"
    with pytest.raises(RefusedError, match=r"localhost \((127\.|::1)"):
        outside.get("http://localhost/x", 5, 100)
    with pytest.raises(RefusedError):
        Outside(("*",)).get("http://2130706433/x", 5, 100)  # 127.0.0.1, written otherwise


def test_a_body_comes_with_its_headers():
    with Receiver(lambda h: h.say(200, b"hello", Inference_Header_Content_Length="3")) as server:
        outside = Outside(("127.0.0.0/8",))
        body, headers = outside.get(f"{server.url}/a?b=c", 5, 100)
        assert body == b"hello"
        assert headers["inference-header-content-length"] == "3"
        assert server.came[0][:2] == ("GET", "/a?b=c")
        named = Outside(("localhost", "127.0.0.1", "::1"))
        if any(one[4][0] == "127.0.0.1" for one in socket.getaddrinfo("localhost", 1)[:1]):
            assert named.get(f"http://localhost:{server.port}/", 5, 9)[0] == b"hello"


def test_redirects_are_not_followed():
    told = pytest.raises(InvalidError, match="answered 302, and redirects are not followed")
    with Receiver(lambda h: h.say(302, b"", Location="http://127.0.0.1:1/")) as server, told:
        Outside(("127.0.0.1",)).get(server.url, 5, 100)


@pytest.mark.parametrize(("status", "kind"), [(404, InvalidError), (503, UnavailableError)])
def test_what_is_not_there_is_refused_and_what_is_busy_comes_again(status, kind):
    told = pytest.raises(kind, match=str(status))
    with Receiver(lambda h: h.say(status, b"")) as server, told:
        Outside(("127.0.0.1",)).get(server.url, 5, 100)


def chunked(handler, pieces):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def endless():
    while True:
        yield b"x" * 65536


def boasting(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "9" * 5000)
    handler.end_headers()
    handler.close_connection = True


@pytest.mark.parametrize(
    "act", [lambda h: h.say(200, b"x" * 101), lambda h: chunked(h, endless()), boasting]
)
def test_more_than_the_bound_is_refused_and_not_read(act):
    with Receiver(act) as server, pytest.raises(InvalidError, match="more than 100 bytes"):
        Outside(("127.0.0.1",)).get(server.url, 10, 100)


def test_a_body_that_breaks_off_is_not_taken_for_whole():
    def act(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    with Receiver(act) as server, pytest.raises(UnavailableError):
        Outside(("127.0.0.1",)).get(server.url, 5, 1000)


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_holds_nobody(part):
    """Every byte comes in time, and all together never would."""
    over = threading.Event()

    def act(handler):
        handler.send_response(200)
        if part == "body":
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b"x")

    with Receiver(act) as server:
        began = time.monotonic()
        try:
            with pytest.raises(UnavailableError, match=r"no whole answer within 0\.3 s"):
                Outside(("127.0.0.1",)).get(server.url, 0.3, 1 << 20)
        finally:
            over.set()
        assert time.monotonic() - began < 20  # and not for ever


def test_nobody_there_may_be_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(UnavailableError):
            Outside(("127.0.0.1",)).post(url, b"x", {}, 5)


def test_a_post_brings_body_and_headers_and_says_the_status():
    with Receiver(lambda h: h.say(204, b"")) as server:
        status = Outside(("127.0.0.1",)).post(f"{server.url}/in", b"body", {"Job-Id": "7"}, 5)
        assert status == 204
        method, path, headers, body = server.came[0]
        assert (method, path, body, headers["job-id"]) == ("POST", "/in", b"body", "7")
