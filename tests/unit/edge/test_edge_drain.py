"""Drain under load: nobody who got a connection stays without an answer."""

import contextlib
import socket
import threading
import time
from collections import Counter

import pytest

from modelworks.edge.limits import Limits

pytestmark = pytest.mark.unit

LIMITS = Limits(drain_linger_s=0.15)
# A client that a busy machine lets wait between its connection and its request is in time, too.
PATIENT = Limits(drain_linger_s=3)
ONE = b"GET /soon HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /soon HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Load:
    """Clients that hammer, each counting how its exchanges ended."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ended = Counter()
        self.threads = []

    def begin(self, kept: int, single: int) -> None:
        kinds = [self.kept] * kept + [self.single] * single
        self.threads = [threading.Thread(target=self.run, args=(kind,)) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Each ends by itself when nobody listens any more."""
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def run(self, kind) -> None:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            except ConnectionRefusedError:
                self.ended["refused"] += 1
                return
            with sock:
                try:
                    kind(sock)
                except ConnectionError as error:
                    self.ended[f"lost: {type(error).__name__}"] += 1

    def kept(self, sock) -> None:
        """One request after the other until the server says close."""
        while True:
            sock.sendall(ONE)
            answer = self.read(sock)
            if b"Connection: close" in answer:
                return

    def single(self, sock) -> None:
        sock.sendall(LAST)
        self.read(sock)

    def read(self, sock) -> bytes:
        data = b""
        while b"\r\n\r\nsoon" not in data:
            piece = sock.recv(4096)
            if not piece:
                self.ended["lost: no answer"] += 1
                return b"Connection: close"
            data += piece
        self.ended["answered"] += 1
        return data


def drain_under_load(serve, kept: int, single: int, *, uvloop: bool = True) -> Counter:
    served = serve(PATIENT, uvloop=uvloop)
    plain = served.handle

    def handle(exchange) -> None:
        if exchange.path == b"/soon":
            served.loop.call_later(0.005, exchange.reply, 200, b"soon", b"text/plain")
        else:
            plain(exchange)

    served.listener._hub.handler = handle
    load = Load(served.port)
    load.begin(kept, single)
    served.until(lambda: load.ended["answered"] > 100)
    served.drain(20)
    assert served.listener.connections == 0
    assert served.listener.in_flight == 0
    load.join()
    return load.ended


def test_no_request_is_lost_under_load(serve):
    for _ in range(2):
        ended = drain_under_load(serve, kept=16, single=16)
        lost = {name: count for name, count in ended.items() if name.startswith("lost")}
        assert not lost, ended
        assert ended["refused"] == 32


def test_no_request_is_lost_on_the_plain_loop_either(serve):
    ended = drain_under_load(serve, kept=8, single=8, uvloop=False)
    assert not {name for name in ended if name.startswith("lost")}, ended
    assert ended["refused"] == 16


def test_an_idle_connection_is_closed_soon(serve):
    served = serve(LIMITS)
    with served.connect() as used, served.connect() as fresh:
        used.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        assert used.recv(1000).endswith(b"GET /ok? ")
        started = time.monotonic()
        served.drain(20)
        assert time.monotonic() - started < 10
        assert used.recv(1000) == b""
        assert fresh.recv(1000) == b""


def test_a_request_that_comes_during_the_drain_is_answered(serve):
    served = serve(PATIENT)
    with served.connect() as kept, served.connect() as fresh:
        kept.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
        assert kept.recv(1000).endswith(b"GET /ok? ")
        drain = threading.Thread(target=served.drain, args=(20,))
        drain.start()
        served.until(lambda: served.listener.draining)
        for sock in (kept, fresh):
            sock.sendall(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = sock.recv(1000)
            assert answer.endswith(b"GET /ok? ")
            assert b"Connection: close" in answer
            assert sock.recv(1000) == b""
        drain.join(30)
        assert not drain.is_alive()


def test_a_request_half_sent_is_finished(serve):
    served = serve(LIMITS)
    with served.connect() as head, served.connect() as body:
        head.sendall(b"GET /ok HTTP/1.1\r\nHost")
        body.sendall(b"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        time.sleep(0.1)
        drain = threading.Thread(target=served.drain, args=(20,))
        drain.start()
        time.sleep(0.8)
        head.sendall(b": a\r\n\r\n")
        body.sendall(b"def")
        assert head.recv(1000).endswith(b"GET /ok? ")
        assert body.recv(1000).endswith(b"abcdef")
        drain.join(30)
        assert not drain.is_alive()


def test_pipelined_requests_are_all_answered_and_only_the_last_says_close(serve):
    served = serve(LIMITS)
    with served.connect() as sock:
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        served.until(lambda: len(served.held) == 3)
        drain = threading.Thread(target=served.drain, args=(20,))
        drain.start()
        time.sleep(0.5)
        assert drain.is_alive()
        for exchange in reversed(served.held):
            served.call(exchange.reply, 200, b"late", b"text/plain")
        data = b""
        while piece := sock.recv(4096):
            data += piece
        drain.join(30)
    assert data.count(b"late") == 3
    assert data.count(b"Connection: close") == 1
    assert data.rindex(b"HTTP/1.1") < data.index(b"Connection: close")


def test_what_takes_longer_than_the_deadline_is_cut_off(serve, caplog):
    served = serve(LIMITS)
    told = []
    with served.connect() as sock:
        sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        served.until(lambda: served.held)
        served.held[0].on_gone = lambda: told.append(1)
        started = time.monotonic()
        served.drain(0.5)
        assert time.monotonic() - started < 5
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1000) == b""
    served.until(lambda: told)
    assert "deadline passed: 1 connections with 1 requests" in caplog.text


def test_twice_is_quiet(serve):
    served = serve(LIMITS)
    assert not served.listener.draining
    served.drain(5)
    served.drain(5)
    assert served.listener.draining
    with pytest.raises(ConnectionRefusedError):
        served.connect()
