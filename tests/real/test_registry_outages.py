"""Stores that fail under a publish: a database that restarts, a bucket that answers with errors."""

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import store_servers
from modelworks.blobs.store import BlobStore
from modelworks.control.service import Factory
from modelworks.core.errors import CorruptError, UnavailableError
from modelworks.core.home import Access, Stores
from modelworks.registry import publish
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

BIG = os.urandom(17 << 20)


def one_line(caught):
    assert "\n" not in caught.value.message
    return caught.value.message


# -- the database goes away


@pytest.fixture
def own_server():
    """A PostgreSQL server that this test may stop."""
    with store_servers.postgres() as server:
        server.run("CREATE DATABASE registry")
        yield server


STEPS = ["take_leases", "held_leases", "insert_version", "move_alias", "drop_leases"]


def test_a_database_that_crashes_in_the_middle_of_a_publish(
    own_server, home, tmp_path, monkeypatch
):
    with Factory(home, stores=Stores(own_server.url("registry"))) as factory:
        factory.publish(candidate(tmp_path / "first", b"first", alias="champion"))
        for number, step in enumerate(STEPS):
            real = getattr(publish.store, step)

            def crash(*arguments, real=real):
                answer = real(*arguments)
                own_server.stop(signal.SIGQUIT)
                own_server.start()
                return answer

            with monkeypatch.context() as patch:
                patch.setattr(publish.store, step, crash)
                with pytest.raises(UnavailableError) as caught:
                    factory.publish(candidate(tmp_path / step, step.encode(), alias="champion"))
            assert own_server.password not in one_line(caught)
            assert len(factory.versions("fraud")) == number + 1
            made = factory.publish(candidate(tmp_path / step, step.encode(), alias="champion"))
            assert factory.show("fraud@champion") == made
            assert factory.verify(made.ref).ok


def test_a_database_that_restarts_while_files_are_stored(own_server, home, tmp_path, monkeypatch):
    with Factory(home, stores=Stores(own_server.url("registry"))) as factory:
        real = BlobStore.put

        def restart(blobs, path):
            own_server.stop()
            own_server.start()
            return real(blobs, path)

        monkeypatch.setattr(BlobStore, "put", restart)
        made = factory.publish(candidate(tmp_path / "one"))  # its leases were kept: it goes on
        assert factory.verify(made.ref).ok


def test_a_database_whose_disk_is_full(own_server, home, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    disk = own_server.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        space = disk / "space"
        space.mkdir()
        owner = own_server.folder.stat()
        for path in (disk, space):
            os.chown(path, owner.st_uid, owner.st_gid)
        own_server.run(f"CREATE TABLESPACE small LOCATION '{space}'")
        own_server.run("CREATE DATABASE full_one TEMPLATE template0 TABLESPACE small")
        factory = stack.enter_context(Factory(home, stores=Stores(own_server.url("full_one"))))
        factory.publish(candidate(tmp_path / "one"))
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (65536, 8192, 512):
                with_room = True
                while with_room:
                    try:
                        with_room = file.write(b"x" * size) == size
                    except OSError:
                        with_room = False

        def write_on():
            for number in range(3000):
                factory.publish(candidate(tmp_path / "more", b"%d" % number))

        with pytest.raises(UnavailableError, match="disk is full") as caught:
            write_on()
        one_line(caught)
        kept = factory.versions("fraud")
        filler.unlink()
        made = factory.publish(candidate(tmp_path / "after"))
        assert made.version > kept[0].version
        own_server.stop()  # before its disk is taken away


# -- the bucket fails


class Front:
    """Stands before a server of buckets, and fails where it is told.

    Attributes:
        url: where it answers.
        fail: (method, path) -> `500`, `hang`, `cut` (an answer's second half is missing), or "".
        seen: requests so far.
    """

    def __init__(self, behind: str) -> None:
        self.fail: Callable[[str, str], str] = lambda _method, _path: ""
        self.seen: list[str] = []
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"front": self, "behind": urlsplit(behind).netloc})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front
    behind: str

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.front.seen.append(f"{self.command} {self.path}")
        failure = self.front.fail(self.command, self.path)
        if failure == "hang":
            self.front.released.wait(60)
            self.close_connection = True
            return
        if failure == "500":
            self._answer(500, {"content-length": "0"}, b"")
            return
        connection = http.client.HTTPConnection(self.behind, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in {"connection", "date"}}
        headers.setdefault("content-length", str(len(data)))
        if failure == "cut":
            data = data[: len(data) // 2]
            self.close_connection = True
        self._answer(answer.status, headers, data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def front(s3_server):
    front = Front(s3_server.endpoint)
    yield front
    front.close()


@pytest.fixture
def shaky(front, s3_server, home, postgres_url):
    """A registry whose bucket is reached through the front."""
    stores = Stores(postgres_url, s3_server.new(), s3_server.access(3.0, endpoint=front.url))
    with Factory(home, stores=stores) as factory:
        yield factory


def part(method, path):
    return method == "PUT" and "partNumber" in path


def test_a_few_errors_are_tried_again(front, shaky, tmp_path):
    left = {"500": 2}

    def fail(method, path):
        if part(method, path) and left["500"]:
            left["500"] -= 1
            return "500"
        return ""

    front.fail = fail
    made = shaky.publish(candidate(tmp_path / "one", BIG))
    assert left["500"] == 0
    assert shaky.verify(made.ref).ok


@pytest.mark.parametrize("how", ["500", "hang"])
@pytest.mark.parametrize("when", ["first request", "parts", "completion"])
def test_a_bucket_that_fails_for_good(front, shaky, tmp_path, how, when):
    def fail(method, path):
        completing = method == "POST" and "uploadId" in path
        chosen = {"first request": True, "parts": part(method, path), "completion": completing}
        return how if chosen[when] else ""

    front.fail = fail
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        shaky.publish(candidate(tmp_path / "one", BIG))
    assert time.monotonic() - begun < 60
    assert "s3://" in one_line(caught)
    assert shaky.models() == []
    front.fail = lambda _method, _path: ""
    assert list(shaky._blobs.list()) == []
    assert shaky.publish(candidate(tmp_path / "one", BIG)).ref == "fraud:1.0.0"
    assert shaky.verify("fraud").ok
    if when != "first request":
        assert any("DELETE" in line and "uploadId" in line for line in front.seen)  # given up


def test_an_answer_that_is_cut_off_is_never_handed_out(front, shaky, tmp_path):
    shaky.publish(candidate(tmp_path / "one", BIG))
    front.fail = lambda method, _path: "cut" if method == "GET" else ""
    with pytest.raises((UnavailableError, CorruptError)) as caught:
        shaky.materialise("fraud")
    one_line(caught)
    assert list(shaky.home.cache.iterdir()) == []
    with pytest.raises(UnavailableError):  # an outage is no damage
        shaky.verify("fraud")
    front.fail = lambda _method, _path: ""
    assert (shaky.materialise("fraud") / "model.onnx").read_bytes() == BIG


# -- large files


LARGE = """
import resource, sys
from pathlib import Path
from modelworks.blobs.store import BlobStore
from modelworks.core.home import Access

where, config, file, out = eval(sys.argv[1])
where = where if "://" in where else Path(where)
store = BlobStore(where, Access(config, http=True))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = store.put(Path(file))
store.fetch(digest, Path(out))
print(digest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
LARGE_BYTES = 300 << 20


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_large_file_goes_through_little_memory(kind, request, tmp_path):
    where, config = str(tmp_path / "blobs"), {}
    if kind == "s3":
        buckets = request.getfixturevalue("s3_server")
        where, config = buckets.new(), dict(buckets.config)
    file, out = tmp_path / "large", tmp_path / "out"
    block, seen = os.urandom(1 << 20), hashlib.sha256()
    with file.open("wb") as sink:
        for _ in range(LARGE_BYTES >> 20):
            sink.write(block)
            seen.update(block)
    told = repr((where, config, str(file), str(out)))
    done = subprocess.run(
        [sys.executable, "-c", LARGE, told], capture_output=True, text=True, check=True
    )
    digest, grown = done.stdout.split()
    assert digest == "sha256:" + seen.hexdigest()
    assert out.stat().st_size == LARGE_BYTES
    assert int(grown) * 1024 < 120 << 20  # a few parts of 8 MiB
    BlobStore(where if config else Path(where), Access(config, http=True)).delete(digest)
