"""Directories to find endpoints in: dnsmasq as a process, a DNS server and a Consul of our own."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from store_servers import free_port

DNSMASQ = shutil.which("dnsmasq") or shutil.which("/usr/sbin/dnsmasq") or ""
NAME = "models.test"


class Dnsmasq:
    """A real DNS server that knows what a hosts file says; records are good for a second."""

    def __init__(self, folder: Path, *more: str, name: str = NAME) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._name = name
        self._hosts = folder / "hosts"
        self._hosts.write_text("")
        self._command = [DNSMASQ, "--keep-in-foreground", "--no-resolv", "--no-hosts"]
        self._command += ["--no-daemon", "--local=/test/", "--local-ttl=1", f"--port={self.port}"]
        self._command += [
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--conf-file=/dev/null",
        ]
        self._command += [f"--addn-hosts={self._hosts}", f"--pid-file={folder / 'pid'}", *more]
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while True:
            assert self.process.poll() is None, "dnsmasq did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < end
            time.sleep(0.02)

    def put(self, addresses: Sequence[tuple[str, int]]) -> None:
        self._hosts.write_text("".join(f"{host} {self._name}\n" for host, _ in addresses))
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Zone:
    """A DNS server in this process: answers from `records`, or as `rcode` or `silent` say."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.rcode = dns.rcode.NOERROR
        self.silent = False
        self.asked = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def put(self, addresses: Sequence[tuple[str, int]], ttl: int = 1, name: str = NAME) -> None:
        for kind, colon in (("A", False), ("AAAA", True)):
            hosts = [host for host, _ in addresses if (":" in host) == colon]
            self.records.pop((name, kind), None)
            if hosts:
                self.records[name, kind] = (ttl, hosts)

    def close(self) -> None:
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                raw, peer = self._sock.recvfrom(4096)
            except OSError:
                return
            self.asked += 1
            if self.silent:
                continue
            with contextlib.suppress(OSError):
                self._sock.sendto(self._answer(raw), peer)

    def _answer(self, raw: bytes) -> bytes:
        query = dns.message.from_wire(raw)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        [question] = query.question
        name = question.name.to_text().rstrip(".")
        kind = dns.rdatatype.to_text(question.rdtype)
        found = self.records.get((name, kind))
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
        elif found is not None:
            answer.answer.append(
                dns.rrset.from_text(question.name, found[0], "IN", kind, *found[1])
            )
        elif not any(key[0] == name for key in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()


class FakeConsul:
    """As much of Consul's HTTP API as its page on health and blocking queries says we need."""

    def __init__(self, token: str = "") -> None:
        self.index = 7
        self.services: dict[str, list[dict]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._token = token
        self._changed = threading.Condition()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                fake._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, addresses: Sequence[tuple[str, int]], name: str = "fraud") -> None:
        """Instances with an address of their own; one at 127.0.0.2 has its node's."""
        with self._changed:
            self.services[name] = [
                {
                    "Node": {"Address": host, "Datacenter": "dc1"},
                    "Service": {"Address": "" if host == "127.0.0.2" else host, "Port": port},
                }
                for host, port in addresses
            ]
            self.index += 1
            self._changed.notify_all()

    def restart(self) -> None:
        """As after its state was lost: indexes begin anew."""
        with self._changed:
            self.index = 1
            self._changed.notify_all()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((parts.path, asked))
        if self._token and handler.headers.get("X-Consul-Token") != self._token:
            self._send(handler, 403, b"Permission denied: token lacks permission")
            return
        assert asked["passing"] == "1"
        assert parts.path.startswith("/v1/health/service/")
        wait = float(asked.get("wait", "0s").removesuffix("s"))
        with self._changed:
            if "index" in asked:
                self._changed.wait_for(lambda: self.index != int(asked["index"]), wait)
            body = json.dumps(self.services.get(parts.path.rpartition("/")[2], [])).encode()
            index = self.index
        self._send(handler, 200, body, index)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, index: int = 0) -> None:
        with contextlib.suppress(OSError):
            handler.send_response(status)
            if index:
                handler.send_header("X-Consul-Index", str(index))
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
