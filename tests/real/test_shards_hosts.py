"""Stages on other hosts, as far as loopback is one: the command, TLS, ends and lies."""

import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from certificates import Authority
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.stages import StagesEngine
from modelworks.testing import onnx_models as models
from recording_server import until
from shards import cut

pytestmark = pytest.mark.real
WIDTH = 16
HEAD = struct.Struct("<4sIIQ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("hosts")
    models.heavy(place / "model.onnx", layers=4, width=WIDTH)
    return cut(place, place / "cut")


@pytest.fixture(scope="module")
def whole(folder):
    session = StagesEngine().load(folder, EngineOptions())
    yield session
    session.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def rows(count):
    return {"x": np.random.default_rng(count).random((count, WIDTH), dtype=np.float32)}


class Process:
    """`modelworks stage` in a process."""

    def __init__(self, folder, port=0, number=1, more=()):
        command = [sys.executable, "-m", "modelworks.cli.main", "stage", str(folder), "--json"]
        command += ["--number", str(number), "--listen", f"127.0.0.1:{port}", *more]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read()
            self.end()
            pytest.fail(said)
        self.port = json.loads(line).get("port")

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture
def stage(folder):
    process = Process(folder)
    yield process
    if process.process.returncode is None:
        process.end()


@pytest.fixture(scope="module")
def steady(folder):
    """One for all who do not end it."""
    process = Process(folder)
    yield process
    process.end()


def tls(pair, authority):
    names = {"tls_ca": authority.certificate, "tls_cert": pair.certificate, "tls_key": pair.key}
    return tuple((name, str(path)) for name, path in names.items())


def opened(folder, port, *more):
    options = EngineOptions(extra=(("hosts", f"1=127.0.0.1:{port}"), *more))
    return StagesEngine().load(folder, options)


def soon(ask, seconds=20.0):
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except UnavailableError:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_stage_elsewhere_gives_what_it_gives_here(folder, whole, stage):
    session = opened(folder, stage.port)
    try:
        assert len(session.processes()) == 1
        for count in (1, 7, 5000, 2, 100_000):
            np.testing.assert_array_equal(
                session.infer(rows(count))[0], whole.infer(rows(count))[0]
            )
    finally:
        session.close()
    assert stage.end() == 0


def test_calls_at_once_over_the_wire(folder, whole, steady):
    session = opened(folder, steady.port)
    wrong = []

    def ask(count):
        wanted = whole.infer(rows(count))[0]
        found = [session.infer(rows(count))[0] for _ in range(20)]
        wrong.extend(count for one in found if not np.array_equal(one, wanted))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    session.close()
    assert wrong == []


def test_a_host_that_dies_is_noticed_at_once_and_found_again(folder, stage):
    session = opened(folder, stage.port)
    told, gone, again = [], threading.Event(), threading.Event()

    def changed(why):
        told.append(why)
        (gone if why else again).set()

    session.watch(changed)
    before = session.infer(rows(2))[0]
    stage.end(signal.SIGKILL)
    assert gone.wait(20)  # nobody asked meanwhile
    assert told[0].startswith("stage 1 of 2: 127.0.0.1:")
    with pytest.raises(UnavailableError, match="stage 1 of 2"):
        session.infer(rows(2))
    other = Process(folder, stage.port)
    try:
        assert again.wait(60)
        np.testing.assert_array_equal(soon(lambda: session.infer(rows(2)))[0], before)
    finally:
        session.close()
        other.end()


def test_nobody_there_is_said_with_the_cure(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError, match=r"stage 1 of 2: .*modelworks stage") as caught:
        opened(folder, port)
    assert f"127.0.0.1:{port}" in caught.value.message


def test_another_stage_than_the_pipeline_has_is_refused(folder, tmp_path):
    models.heavy(tmp_path / "model.onnx", layers=4, width=WIDTH + 1)
    other = Process(cut(tmp_path, tmp_path / "cut"))
    try:
        with pytest.raises(InvalidError, match="stage here is another one"):
            opened(folder, other.port)
    finally:
        other.end()


def test_both_sides_are_known_by_their_certificates(folder, whole, authority, tmp_path):
    mine, theirs = authority.pair("pipeline"), authority.pair("stage")
    foreign = Authority(tmp_path / "foreign")
    options = [f"--{n.replace('_', '-')}={v}" for n, v in tls(theirs, authority)]
    stage = Process(folder, more=options)
    try:
        session = opened(folder, stage.port, *tls(mine, authority))
        np.testing.assert_array_equal(session.infer(rows(5000))[0], whole.infer(rows(5000))[0])
        session.close()
        with pytest.raises(UnavailableError):  # we do not show a certificate
            opened(folder, stage.port)
        with pytest.raises(UnavailableError):  # ours is of another authority
            opened(folder, stage.port, *tls(foreign.pair("nobody"), authority))
        with pytest.raises(UnavailableError, match="not trusted"):  # theirs is
            opened(folder, stage.port, *tls(foreign.pair("somebody"), foreign))
    finally:
        stage.end()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_off_loopback_without_tls_is_refused(folder, listen):
    with pytest.raises(InvalidError, match="TLS that knows both sides"):
        StagesEngine.host(folder, 1, listen, EngineOptions(), {})
    with pytest.raises(InvalidError, match="TLS that knows both sides"):
        StagesEngine().load(folder, EngineOptions(extra=(("hosts", "1=192.0.2.1:7000"),)))


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4,
        HEAD.pack(b"MWS1", 1, 0, 1 << 60),
        HEAD.pack(b"MWS1", 3, 0, 8) + b"\0" * 8,
        HEAD.pack(b"MWS1", 1, 0, 2) + b"[]",
        HEAD.pack(b"MWS1", 1, 0, 30) + b"{",
    ],
)
def test_a_stage_survives_what_is_no_pipeline(folder, whole, steady, said):
    line = socket.create_connection(("127.0.0.1", steady.port), timeout=10)
    with line, suppress(OSError):  # it may have been hung up on at the first bytes
        line.sendall(said)
        line.shutdown(socket.SHUT_WR)
        while line.recv(4096):
            pass
    session = opened(folder, steady.port)
    np.testing.assert_array_equal(session.infer(rows(3))[0], whole.infer(rows(3))[0])
    session.close()


def greeted(folder, port):
    line = socket.create_connection(("127.0.0.1", port), timeout=20)
    digest = json.loads((folder / "stages.json").read_text())["stages"][1]["digest"]
    hello = json.dumps({"digest": digest}).encode()
    line.sendall(HEAD.pack(b"MWS1", 1, 0, len(hello)) + hello)
    _, word, _, size = HEAD.unpack(line.recv(HEAD.size, socket.MSG_WAITALL))
    assert word == 2
    line.recv(size, socket.MSG_WAITALL)
    return line


@pytest.mark.parametrize(
    "table",
    [[-1, WIDTH, 64, 64], [2, WIDTH, 1 << 50, 128], [2, WIDTH + 1, 64, 128], [2, WIDTH, 3, 128]],
)
def test_tables_that_lie_are_told_and_harm_nothing(folder, whole, steady, table):
    with greeted(folder, steady.port) as line:
        content = struct.pack("<4q", *table).ljust(256, b"\0")
        line.sendall(HEAD.pack(b"MWS1", 3, 1, len(content)) + content)
        _, word, _, size = HEAD.unpack(line.recv(HEAD.size, socket.MSG_WAITALL))
        assert word == 5
        assert "message" in json.loads(line.recv(size, socket.MSG_WAITALL))
    session = opened(folder, steady.port)
    np.testing.assert_array_equal(session.infer(rows(3))[0], whole.infer(rows(3))[0])
    session.close()


def test_more_than_may_be_is_refused_before_it_is_read(folder, steady):
    with greeted(folder, steady.port) as line:
        line.sendall(HEAD.pack(b"MWS1", 3, 1, 1 << 40))
        _, word, _, size = HEAD.unpack(line.recv(HEAD.size, socket.MSG_WAITALL))
        assert word == 5
        assert "no room" in json.loads(line.recv(size, socket.MSG_WAITALL))["message"]
        assert line.recv(1) == b""


def liar(answers):
    """A stage that greets well and then answers with `answers`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(line):
        with line:
            _, _, _, size = HEAD.unpack(line.recv(HEAD.size, socket.MSG_WAITALL))
            line.recv(size, socket.MSG_WAITALL)
            line.sendall(HEAD.pack(b"MWS1", 2, 0, 2) + b"{}")
            head = line.recv(HEAD.size, socket.MSG_WAITALL)
            if len(head) == HEAD.size:
                line.recv(HEAD.unpack(head)[3], socket.MSG_WAITALL)
                line.sendall(answers)
            while line.recv(4096):
                pass

    def accept():
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    "answers",
    [
        HEAD.pack(b"MWS1", 4, 7, 8) + b"\0" * 8,
        HEAD.pack(b"MWS1", 4, 1, 1 << 50),
        HEAD.pack(b"MWS1", 4, 1, 64) + struct.pack("<8q", 9, 9, 1 << 40, 8, 0, 0, 0, 0),
        HEAD.pack(b"MWS1", 5, 1, 5) + b"[[[[[",
        b"\xff" * 64,
    ],
)
def test_a_host_that_lies_is_left(folder, answers):
    listener = liar(answers)
    try:
        session = opened(folder, listener.getsockname()[1])
        with pytest.raises(UnavailableError, match="stage 1 of 2"):
            session.infer(rows(2))
        session.close()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_call_that_waits_for_a_line_hears_of_the_end_of_those_before_it(folder):
    listener = liar(b"")
    session = opened(folder, listener.getsockname()[1], ("in_flight", "3"))
    elsewhere = session._running[1]
    free, told = elsewhere._free, []

    def ask():
        try:
            session.infer(rows(2))
        except UnavailableError as error:
            told.append(error.message)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        until(lambda: len(free.not_empty._waiters) == 1)  # two lines, and three calls
        listener.close()
        elsewhere._watched.connection.shutdown(socket.SHUT_RDWR)  # as if the host had ended
        for thread in threads:
            thread.join(30)  # a call has 300 s
        assert [thread.is_alive() for thread in threads] == [False] * 3
        assert len(told) == 3
    finally:
        listener.close()
        session.close()
