"""Where a client's URL leads: http, https with files, Unix sockets."""

import http.server
import socketserver
import threading

import pytest

from certificates import Authority
from modelworks.apps.embed import Settings
from modelworks.client.tls import ClientTls
from modelworks.client.wire import Wire
from modelworks.core.errors import InvalidError, UnavailableError

pytestmark = pytest.mark.unit


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f'{{"path": "{self.path}", "host": "{self.headers["Host"]}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class OnPath(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "s.sock"
    with OnPath(str(found), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield found
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize("form", ["unix://{}", "http+unix://{quoted}", "unix://{quoted}"])
def test_a_unix_socket(path, form):
    wire = Wire(form.format(path, quoted=str(path).replace("/", "%2F")), "model server", "start it")
    assert wire.url == f"unix://{path}"
    for _ in range(3):
        answer = wire.json("GET", "/v2/x", query={"a": "b"})
        assert answer == {"path": "/v2/x?a=b", "host": "localhost"}
    wire.close()


def test_nobody_on_a_unix_socket(tmp_path):
    wire = Wire(f"unix://{tmp_path}/none.sock", "model server", "start it")
    with pytest.raises(UnavailableError, match=r"no model server answers at unix:///.*start it"):
        wire.json("GET", "/")


@pytest.mark.parametrize("url", ["unix://", "http+unix://", "ftp://a", "http://"])
def test_no_url(url):
    with pytest.raises(InvalidError, match="is no URL") as caught:
        Wire(url, "model server", "start it")
    assert caught.value.field == "url"


def test_files_that_do_not_do(tmp_path):
    pair = Authority(tmp_path).pair("client")
    text = tmp_path / "text"
    text.write_text("no certificate")
    for tls, field in (
        (ClientTls(ca=str(tmp_path / "none")), "ca"),
        (ClientTls(ca=str(text)), "ca"),
        (ClientTls(certificate=str(text)), "client_cert"),
        (ClientTls(certificate=str(pair.certificate)), "client_cert"),
        (ClientTls(key=str(pair.key)), "client_key"),
    ):
        with pytest.raises(InvalidError) as caught:
            Wire("https://127.0.0.1:1", "model server", "start it", tls)
        assert caught.value.field == field
    assert ClientTls(certificate=str(pair.certificate), key=str(pair.key)).context() is not None
    assert ClientTls().context() is None


def test_what_the_environment_says():
    found = Settings.read(
        {"MODELWORKS_CA": "a", "MODELWORKS_CLIENT_CERT": "c", "MODELWORKS_CLIENT_KEY": "k"}
    )
    assert found.tls == ClientTls("a", "c", "k")
    assert Settings.read({}).tls == ClientTls()
