"""TLS on real sockets: files, handshakes, clients with and without certificates, reloading."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from certificates import Authority
from edge_served import SMALL, Served, read_all
from exchanges import table
from exchanges.kinds import GET, H, sized, statuses
from modelworks.core.errors import InvalidError
from modelworks.edge.certificate import Validity, validity
from modelworks.edge.limits import Limits
from modelworks.edge.tls import TlsFiles, load
from modelworks.edge.tls_gate import TlsGate

pytestmark = pytest.mark.unit
ONE = GET + b"\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n" + H + b"\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.pair("server")


@pytest.fixture
def files(pair, tmp_path):
    """A copy that a test may change."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(pair.certificate, certificate)
    shutil.copy(pair.key, key)
    return TlsFiles(certificate, key)


class Secure(Served):
    """`Served` behind TLS."""

    def __init__(self, gate, limits=SMALL, *, uvloop=True, client=None) -> None:
        super().__init__(limits, uvloop=uvloop, tls=gate)
        self.client = client

    def raw(self):
        return super().connect()

    def connect(self):
        return self.client.wrap_socket(self.raw(), server_hostname="localhost")

    def talk(self, data: bytes, *, pieces: int = 1) -> bytes:
        """Send and read to the end; TLS of Python closes no one side, so our end is `close`."""
        with self.connect() as sock:
            step = max(1, len(data) // pieces)
            with contextlib.suppress(OSError):
                for i in range(0, len(data), step):
                    sock.sendall(data[i : i + step])
            return read_all(sock)


def client_of(authority, pair=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture
def secure(authority, files):
    """Start one; `wanted` is whether clients must show a certificate."""
    with contextlib.ExitStack() as stack:

        def start(*, ca=None, limits=SMALL, uvloop=True, **bounds):
            found = TlsFiles(files.certificate, files.key, ca)
            gate = TlsGate(found, look_s=0.05, **bounds)
            made = Secure(gate, limits, uvloop=uvloop, client=client_of(authority))
            return stack.enter_context(made)

        yield start


# -- files


def test_a_pair_is_loaded_without_a_word(files):
    files.key.chmod(0o600)
    context, warnings = load(files)
    assert warnings == ()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_both_may_stand_in_one_file(files):
    whole = files.key.with_name("both.pem")
    whole.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    load(TlsFiles(whole, whole))


def test_a_key_that_all_can_read_is_told_of(files):
    files.key.chmod(0o644)
    assert "chmod 600" in load(files)[1][0]


def test_a_certificate_near_its_end_is_told_of(authority):
    soon = authority.pair("soon", days=3)
    _, warnings = load(TlsFiles(soon.certificate, soon.key))
    assert "expires on" in warnings[0]


def test_dates_are_read_as_openssl_reads_them(pair):
    command = ["openssl", "x509", "-in", pair.certificate, "-noout", "-dates"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    begins, ends = (line.partition("=")[2] for line in said.splitlines())
    found = validity(pair.certificate.read_text())
    assert found.begins.timestamp() == ssl.cert_time_to_seconds(begins)
    assert found.ends.timestamp() == ssl.cert_time_to_seconds(ends)


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [(-9, -1, "expired"), (1, 9, "valid from"), (-9, 9, "expires on"), (-9, 90, "")],
)
def test_what_is_said_of_dates(begins, ends, said):
    now = datetime.now(UTC)
    found = Validity(now + timedelta(days=begins), now + timedelta(days=ends)).concern(now)
    assert (said in found) if said else (found == "")


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (lambda f, o: f.certificate.unlink(), "tls_cert", "cannot be read"),
        (lambda f, o: f.key.unlink(), "tls_key", "cannot be read"),
        (lambda f, o: f.certificate.write_text("no"), "tls_cert", "holds no certificate"),
        (lambda f, o: f.key.write_text("no"), "tls_key", "holds no private key"),
        (lambda f, o: f.certificate.write_bytes(b"x" * (1 << 21)), "tls_cert", "too large"),
        (lambda f, o: shutil.copy(o.key, f.key), "tls_key", "is not that of the certificate"),
        (lambda f, o: _cut(f.certificate), "tls_cert", "damaged"),
        (lambda f, o: _encrypt(f.key), "tls_key", "openssl pkey -in"),
        (lambda f, o: _damage(f.key), "tls_cert", "cannot be used"),
    ],
)
def test_files_that_do_not_do(authority, files, change, field, said):
    change(files, authority.pair("other"))
    with pytest.raises(InvalidError, match=said) as caught:
        load(files)
    assert caught.value.field == field
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "no certificate", None])
def test_authorities_that_do_not_do(files, tmp_path, text):
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidError) as caught:
        load(TlsFiles(files.certificate, files.key, path))
    assert caught.value.field == "client_ca"


def _cut(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[-1], ""]))


def _damage(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "AAAA" + lines[1][4:], *lines[2:], ""]))


def _encrypt(path):
    command = ["openssl", "pkey", "-in", path, "-aes256", "-passout", "pass:x"]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)


# -- exchanges


@pytest.mark.parametrize("uvloop", [True, False])
def test_a_request(secure, uvloop):
    served = secure(uvloop=uvloop)
    with served.connect() as sock:
        assert sock.version() == "TLSv1.3"
        for _ in range(3):
            sock.sendall(ONE)
            assert sock.recv(1000).endswith(b"GET /ok? ")
        sock.sendall(sized(b"a" * 4096))
        data = b""
        while not data.endswith(b"a" * 4096):
            data += sock.recv(65536)


@pytest.mark.parametrize(
    ("version", "wanted"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_1, False)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # asked for on purpose
def test_versions(secure, authority, version, wanted):
    served = secure()
    served.client = client_of(authority)
    served.client.set_ciphers("ALL:@SECLEVEL=0")
    served.client.minimum_version = ssl.TLSVersion.TLSv1
    served.client.maximum_version = version
    if wanted:
        assert served.talk(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        return
    with pytest.raises(ssl.SSLError):
        served.connect()


def test_http_1_1_is_chosen_by_alpn(secure):
    served = secure()
    served.client.set_alpn_protocols(["h2", "http/1.1"])
    with served.connect() as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_a_sample_of_the_table(secure):
    served = secure()
    gone = "Clients that leave too early"
    for case in table.bad()[::4]:
        if case.group != gone and not case.title.startswith(("without", "left", "endless")):
            assert statuses(served.talk(case.data)) == case.answers, case.title


def test_a_large_answer_and_a_slow_reader(secure):
    served = secure(limits=Limits(write_high_water=64 * 1024))
    with served.connect() as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\n" + H + b"\r\n" * 1)
        time.sleep(0.2)
        data = b""
        while len(data) < 3_000_000:
            data += sock.recv(1 << 16)
        assert data.endswith(b"x" * 3_000_000)


def test_the_last_answer_is_followed_by_close_notify(secure):
    served = secure()
    with served.connect() as sock:
        sock.sendall(GET + b"Connection: close\r\n\r\n")
        assert b"Connection: close" in read_all(sock)  # an end without it raises
        sock.unwrap()


def test_close_notify_with_an_answer_owed(secure):
    served = secure()
    with served.raw() as raw:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = served.client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        pump(raw, incoming, outgoing, tls.do_handshake)
        tls.write(HOLD)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        raw.sendall(outgoing.read())
        served.until(lambda: served.held)
        time.sleep(0.1)
        assert not served.held[0].gone
        served.call(served.held.pop().reply, 200, b"owed", b"text/plain")
        incoming.write(read_all(raw))
        assert tls.read(65536).endswith(b"owed")


def pump(raw, incoming, outgoing, act):
    while True:
        try:
            act()
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read())
            incoming.write(raw.recv(65536))
        else:
            raw.sendall(outgoing.read())
            return


def test_drain(secure):
    served = secure(limits=Limits(drain_linger_s=0.15))
    with served.connect() as idle, served.connect() as busy:
        busy.sendall(HOLD)
        served.until(lambda: served.held)
        served.loop.call_soon_threadsafe(
            lambda: served.loop.call_later(0.3, served.held[0].reply, 200, b"late", b"text/plain")
        )
        served.drain(5)
        assert read_all(idle) == b""
        answer = read_all(busy)
        assert b"Connection: close" in answer
        assert answer.endswith(b"late")


# -- handshakes


def test_plain_http_on_a_tls_port(secure):
    served = secure()
    with served.raw() as sock:
        sock.sendall(ONE)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"this port speaks HTTPS" in answer
    assert served.seen == []


def test_other_protocols_get_no_answer(secure):
    served = secure()
    with served.raw() as sock:
        sock.sendall(b"\x00\x01\x02")
        assert read_all(sock) == b""


def test_tls_on_a_plain_port(served):
    context = ssl.create_default_context()
    with served.connect() as sock, pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
        context.wrap_socket(sock, server_hostname="localhost")


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_takes_too_long(secure, first):
    served = secure(handshake_timeout_s=0.3)
    began = time.monotonic()
    with served.raw() as sock:
        if first:
            sock.sendall(first)
        with contextlib.suppress(ConnectionError):
            assert read_all(sock) == b""
    assert 0.2 < time.monotonic() - began < 5


def test_a_client_that_says_nothing(secure):
    served = secure(handshake_timeout_s=0.2)
    with served.raw() as sock:
        served.until(lambda: served.listener._tls.under_way == 1)
        with contextlib.suppress(ConnectionError):
            assert read_all(sock) == b""
    assert served.listener._tls.under_way == 0
    assert served.listener.connections == 0


def test_rubbish_in_a_handshake(secure):
    served = secure()
    with served.raw() as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello" + b"\xff" * 100)
        assert read_all(sock)[:1] in {b"\x15", b""}  # an alert
    served.until(lambda: served.listener._tls.under_way == 0)


def test_a_forged_record(secure):
    served = secure()
    with served.connect() as sock:
        raw = socket.socket(fileno=os.dup(sock.fileno()))
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"\xaa" * 32)
        with contextlib.suppress(OSError):
            assert sock.recv(100) == b""
    served.until(lambda: served.listener.connections == 0)
    assert served.seen == []


def test_too_many_handshakes(secure):
    served = secure(max_handshakes=4)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(served.raw()) for _ in range(4)]
        served.until(lambda: served.listener._tls.under_way == 4)
        with served.connect() as sock:  # makes room for itself
            sock.sendall(ONE)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        first[0].settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert first[0].recv(10) == b""


def test_departures_in_a_handshake_are_forgotten(secure):
    served = secure()
    for _ in range(5):
        served.raw().close()
    served.until(lambda: served.listener._tls.under_way == 0)


# -- clients with certificates


def test_only_clients_of_the_authority_come_in(secure, authority, tmp_path):
    served = secure(ca=authority.certificate)
    served.client = client_of(authority, authority.pair("client"))
    assert served.talk(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
    stranger = Authority(tmp_path / "other", "stranger").pair("client")
    for client in (client_of(authority), client_of(authority, stranger)):
        served.client = client
        with pytest.raises((ssl.SSLError, ConnectionError)):
            served.talk(ONE)
    assert len(served.seen) == 1


# -- new files


def test_new_handshakes_take_new_files_and_old_connections_live_on(secure, files, tmp_path):
    served = secure()
    with served.connect() as old:
        fresh = Authority(tmp_path / "fresh", "fresh")
        pair = fresh.pair("server")
        shutil.copy(pair.certificate, files.certificate)  # not yet a pair with the old key
        time.sleep(0.3)
        old.sendall(ONE)
        assert old.recv(1000).startswith(b"HTTP/1.1 200")
        served.connect().close()  # the last good pair still serves
        shutil.copy(pair.key, files.key)
        served.client = client_of(fresh)
        served.until(lambda: _connects(served))
        old.sendall(ONE)
        assert old.recv(1000).startswith(b"HTTP/1.1 200")


def _connects(served) -> bool:
    try:
        served.connect().close()
    except ssl.SSLError:
        return False
    return True
