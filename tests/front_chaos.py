"""A gateway's world, and what befalls it: servers, workers, control plane, shadows, routes.

Two workers in front of three servers of two models each, split and shadowed, with routes from a
control plane that is a process of its own. `Stage.acts` are the troubles; at least one server is
always left well.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Self

from gateway_process import Gateway
from gateway_served import OK, Asked, Upstream, as_json, snapshot
from modelworks.core.files import replace_text
from modelworks.core.routes import Arm, Breaker, Endpoint, Retries, Route, Shadow, Span
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list
from store_servers import eventually, free_port

SERVERS = 3
_SHADOW_S = 3.0  # that a shadow takes: with 64 copies under way at a time the queue soon fills
_STILL_S = 2.5  # a server stands still: longer than two health checks take to see it
_CONTROL = Path(__file__).with_name("front_control.py")


class Stage:
    """Set up on entering, taken down on leaving.

    Attributes:
        gateway: that is asked.
        acts: what can befall it, by name.
    """

    gateway: Gateway

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._folder = folder
        self._chance = Random(seed)
        self._generation = 0
        self._ports = [free_port() for _ in range(SERVERS)]
        self._servers: list[Server] = []
        self._shadow = Upstream(_slow)
        self._control_port = free_port()
        self._control: subprocess.Popen[bytes] | None = None
        self._routes = folder / "routes.json"
        self.acts: dict[str, Callable[[], None]] = {
            "kill a server": self.kill_server,
            "kill two servers": self.kill_two,
            "stop a server": self.stop_server,
            "kill a worker": self.kill_worker,
            "cut the control plane": self.cut_control,
            "other routes": self.replace_routes,
        }
        self.pause: Callable[[], None] = lambda: None  # callers go on meanwhile

    def __enter__(self) -> Self:
        model = onnx_models.identity(self._folder / "m.onnx")
        models = [
            ServedModel(name, "1.0.0", str(model), f"sha256:{name}") for name in ("m-1", "m-2")
        ]
        self._list = str(serve_list(self._folder / "served.json", models))
        with ThreadPoolExecutor(SERVERS) as pool:
            self._servers = list(pool.map(self._server, self._ports))
        self.write_routes(900)
        self._start_control()
        url = f"http://127.0.0.1:{self._control_port}/api/v1/routes/snapshot"
        cache = str(self._folder / "cache.json")
        told = ["--workers", "2", "--check-seconds", "0.5", "--cache", cache]
        self.gateway = Gateway(url, *told)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._shadow.close)
            if self._control is not None:
                stack.callback(self._control.wait, 10)
                stack.callback(self._control.kill)
            for server in self._servers:
                stack.callback(server.__exit__, None, None, None)
            if hasattr(self, "gateway"):
                stack.callback(self.gateway.__exit__)

    # -- troubles

    def kill_server(self) -> None:
        """One dies, and is started again."""
        self._kill([self._chance.randrange(SERVERS)])

    def kill_two(self) -> None:
        """Two die; the third answers alone."""
        self._kill(self._chance.sample(range(SERVERS), 2))

    def stop_server(self) -> None:
        """One stands still for a while: it takes connections, and answers nothing."""
        process = self._servers[self._chance.randrange(SERVERS)].process
        process.send_signal(signal.SIGSTOP)
        try:
            self.pause()
            time.sleep(_STILL_S)
            self.pause()
        finally:
            process.send_signal(signal.SIGCONT)
        self._until_ready()

    def kill_worker(self) -> None:
        """A worker dies with its connections, and is replaced."""
        children = Path(
            f"/proc/{self.gateway.process.pid}/task/{self.gateway.process.pid}/children"
        )
        victim = self._chance.choice(children.read_text().split())
        os.kill(int(victim), signal.SIGKILL)
        self.pause()

        def replaced() -> bool:
            there = children.read_text().split()
            return len(there) == 2 and victim not in there

        eventually("another worker", replaced, None)
        self._until_both()

    def cut_control(self) -> None:
        """The control plane dies; it comes back with other routes."""
        assert self._control is not None
        self._control.kill()
        self._control.wait(10)
        self.pause()
        self._generation += 1
        self.write_routes(1000)
        self._start_control()
        self._until_taken()

    def replace_routes(self) -> None:
        """Another split."""
        self.write_routes(self._chance.randrange(500, 5000))
        self._until_taken()

    # -- parts

    def write_routes(self, canary: int) -> None:
        """Routes of another generation, with so many buckets for the second model."""
        self._generation += 1
        ends = tuple(Endpoint(f"http://127.0.0.1:{port}") for port in self._ports)
        arms = (
            Arm("m/1", model="m-1", endpoints=ends),
            Arm("m/2", model="m-2", endpoints=ends),
            Arm("m/3", endpoints=(Endpoint(self._shadow.url),)),
        )
        cut = 10_000 - canary
        route = Route(
            "m",
            arms,
            (Span(0, cut, "m/1"), Span(cut, 10_000, "m/2")),
            model="m",
            shadows=(Shadow("m/3", 1.0, compare=False),),
            timeout_s=10.0,
            hedge_ms=150.0,
            retries=Retries(most=2, budget=1.0),
            breaker=Breaker(most_ejected=0.7),
            fallback="m/1",
        )
        replace_text(self._routes, as_json(snapshot(route, generation=self._generation)).decode())

    def shadows(self) -> tuple[float, float]:
        """Copies that were sent, and those that found no room."""
        found = self.gateway.metrics()
        name = "modelworks_gateway_shadow_"
        return (
            found[f'{name}copies_total{{route="m",arm="m/3"}}'],
            found[f'{name}dropped_total{{route="m"}}'],
        )

    def _server(self, port: int) -> Server:
        return Server(["--served", self._list, "--port", str(port)])

    def _kill(self, slots: list[int]) -> None:
        for slot in slots:
            self._servers[slot].process.kill()
        self.pause()
        for slot in slots:
            self._servers[slot].__exit__(None, None, None)
            self._servers[slot] = self._server(self._ports[slot])
        self._until_ready()

    def _until_both(self) -> None:
        """Both workers answer: the next trouble may be the other one's."""
        seen: set[int] = set()

        def both() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                seen.add(self.gateway.state()["worker"])
            return len(seen) == 2

        eventually("two workers", both, None)

    def _start_control(self) -> None:
        command = [sys.executable, str(_CONTROL), str(self._control_port), str(self._routes)]
        self._control = subprocess.Popen(command)

    def _until_ready(self) -> None:
        """Both workers find every server well: the next trouble leaves one."""
        seen: dict[int, bool] = {}

        def ready() -> bool:
            state = self.gateway.state()
            places = [p for p in state["endpoints"] if p["url"] != self._shadow.url]
            seen[state["worker"]] = all(place["ready"] for place in places)
            return len(seen) == 2 and all(seen.values())

        eventually("servers that are ready", ready, None)

    def _until_taken(self) -> None:
        eventually(
            "the other routes",
            lambda: self.gateway.state()["generation"] == self._generation,
            None,
        )


def _slow(asked: Asked) -> None:
    time.sleep(_SHADOW_S)
    asked.sock.sendall(OK)
