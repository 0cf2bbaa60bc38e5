"""What the models of a list cost on this machine: memory, a row's time, HTTP."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop

from modelworks.core.errors import ModelworksError
from modelworks.core.graphs import GRAPH
from modelworks.core.native import NATIVE
from modelworks.core.seams import Generating, Session
from modelworks.core.served import Isolation, ServedList, ServedModel
from modelworks.core.tensor import Tensors
from modelworks.edge.listener import bind
from modelworks.protocol.oip.caller import build_request
from modelworks.serving.block import Block
from modelworks.serving.doors import Openings
from modelworks.serving.loading import load_model
from modelworks.serving.sizing import INLINE_NS, Calibrated
from modelworks.serving.warmup import made_up, warm_up
from modelworks.serving.worker import Worker, WorkerOptions

MOST: Final = 8
"""Models of a list that are measured; those behind them count with their files' size."""
LOAD_S: Final = 3.0
"""Loading stops at the model after which more has been spent."""
_LEAST_CALLS: Final = 3
_LARGE: Final = 4096  # elements; larger tensors are sent as bytes by whoever cares for time
_HTTP_MODELS: Final = 3
_TOGETHER: Final = 16  # requests sent at once: a connection alone would measure the waiting
_LEAST_NS: Final = 5_000.0  # the difference of two large numbers may be anything
_GOOD: Final = b"HTTP/1.1 200 "


@dataclass(slots=True)
class _Loaded:
    served: ServedModel
    session: Session
    small: Tensors  # one row
    batch: Tensors  # the most that one call takes
    rows: int
    call_ns: float
    seconds: float  # to load


class Probe:
    """The models of one list in this process.

    Args:
        models: those that a server would load at its start.
    """

    def __init__(self, models: tuple[ServedModel, ...]) -> None:
        # A graph has nothing of its own to measure: its models are on the list too.
        self._models = tuple(m for m in models if m.autoload and m.format != GRAPH)
        self._loaded: list[_Loaded] = []
        self.base_bytes = resident()

    def load(self, threads: int) -> list[Calibrated]:
        """Load what is to be measured, anew with another number of threads.

        Returns:
            Every model: its memory and the time of a call, or why it is not measured.
        """
        self.close()
        began = time.monotonic()
        found = []
        for place, model in enumerate(self._models):
            late = place and time.monotonic() - began > LOAD_S
            if place >= MOST or late:
                found.append(_left_out(model, "the models before it took the calibration's time"))
            else:
                found.append(self._load(model, threads))
        return found

    def speed(self, seconds: float) -> dict[str, float]:
        """Nanoseconds a row by `name:version`, at the best batch size.

        Args:
            seconds: for all models together; each is called three times at least.
        """
        share = seconds / max(1, 2 * len(self._loaded))
        found = {}
        for item in self._loaded:
            batched = _fastest(item.session, item.batch, share) / item.rows
            alone = _fastest(item.session, item.small, share)
            found[_key(item.served)] = min(alone, batched)
        return found

    def http(self, seconds: float) -> dict[str, float]:
        """Nanoseconds of CPU time a request without its engine call, by `name:version`.

        A worker is started here and asked over the loopback; the clock is that of its own thread.
        Only models that are loaded quickly are asked.
        """
        quick = sorted(self._loaded, key=lambda item: item.seconds)[:_HTTP_MODELS]
        by_name = {item.served.name: item for item in quick if item.seconds < LOAD_S / 3}
        wanted = list(by_name.values())
        return _served(wanted, seconds / max(1, len(wanted))) if wanted else {}

    def close(self) -> None:
        """Give the models back."""
        for item in self._loaded:
            item.session.close()
        self._loaded = []

    def _load(self, model: ServedModel, threads: int) -> Calibrated:
        if model.format == NATIVE or model.isolation is Isolation.PROCESS:
            return _left_out(model, "it runs in a process of its own")
        before, began = resident(), time.monotonic()
        try:
            loaded = load_model(model, threads)
        except ModelworksError as error:
            return _left_out(model, error.message)
        session, rows = loaded.session, loaded.batching.max_batch_size
        if isinstance(session, Generating):
            session.close()
            return _left_out(model, "what an answer costs is said by its tokens")
        try:
            free = warm_up(session)
            small = made_up(session.signature, 1, free)
            batch = made_up(session.signature, rows, free) if rows > 1 else small
            call = _fastest(session, small, 0.0)
            session.infer(batch)
        except ModelworksError as error:
            session.close()
            return _left_out(model, error.message)
        taken = time.monotonic() - began
        self._loaded.append(_Loaded(model, session, small, batch, rows, call, taken))
        grown = max(0, resident() - before)
        return Calibrated(model.name, model.version, call_ns=call, bytes=grown)


def resident() -> int:
    """Bytes of this process that are its own: not those of files that all workers share."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for text in Path("/proc/self/status").read_text().splitlines():
            if text.startswith("RssAnon:"):
                return int(text.split()[1]) * 1024
    return 0


def _key(model: ServedModel) -> str:
    return f"{model.name}:{model.version}"


def _left_out(model: ServedModel, problem: str) -> Calibrated:
    return Calibrated(model.name, model.version, bytes=_size(Path(model.path)), problem=problem)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        return sum(file.stat().st_size for file in files)
    return 0


def _fastest(session: Session, inputs: Tensors, seconds: float) -> float:
    """Nanoseconds of the shortest call: others on the machine only ever make one longer."""
    best = float("inf")
    calls, end = 0, time.perf_counter() + seconds
    while calls < _LEAST_CALLS or time.perf_counter() < end:
        began = time.perf_counter_ns()
        session.infer(inputs)
        best = min(best, time.perf_counter_ns() - began)
        calls += 1
    return float(best)


def _served(items: list[_Loaded], seconds: float) -> dict[str, float]:
    """A worker with these models, and what each of them costs beside its engine."""
    sock = bind("127.0.0.1", 0)
    address = sock.getsockname()[:2]
    models = tuple(replace(item.served, default=True, aliases=()) for item in items)
    ready = threading.Event()
    found: dict[str, float] = {}

    async def run() -> None:
        options = WorkerOptions("", drain_s=0.2, served=ServedList(1, models))
        worker = Worker(options, Block(), Openings((sock,)), ready.set)
        stop = partial(asyncio.get_running_loop().call_soon_threadsafe, worker.stop)

        def drive() -> None:
            try:
                if ready.wait(4 * LOAD_S):
                    for item in items:
                        with contextlib.suppress(OSError, ModelworksError):
                            found[_key(item.served)] = _one(address, item, seconds)
            finally:
                stop()

        threading.Thread(target=drive, name="calibration", daemon=True).start()
        await worker.run()

    uvloop.run(run())
    return found


def _one(address: tuple[str, int], item: _Loaded, seconds: float) -> float:
    signature = item.session.signature
    arrays: dict[str, Any] = dict(item.small)
    kinds = {spec.name: spec.datatype for spec in signature.inputs}
    large = sum(array.size for array in arrays.values()) > _LARGE
    body, kind, headers = build_request(arrays, datatypes=kinds, binary=large)
    head = [b"POST /v2/models/%s/infer HTTP/1.1" % item.served.name.encode(), b"Host: calibration"]
    lines = ((b"Content-Type", kind), (b"Content-Length", b"%d" % len(body)), *headers)
    head += [b"%s: %s" % line for line in lines]
    request = b"\r\n".join([*head, b"", body])
    with socket.create_connection(address, timeout=LOAD_S) as connection:
        _turn(connection, request)  # the first ones pay for what is made once
        clock = _clock_of_main()
        before, end = clock(), time.perf_counter() + seconds
        count = 0
        while not count or time.perf_counter() < end:
            _turn(connection, request)
            count += _TOGETHER
        spent = (clock() - before) / count
    together = {name: array.repeat(_TOGETHER, 0) for name, array in item.small.items()}
    engine = _fastest(item.session, together if item.rows > 1 else item.small, 0.0)
    if engine >= INLINE_NS:
        return spent  # it ran on a thread of its own, which this clock does not count
    return max(_LEAST_NS, spent - engine / (_TOGETHER if item.rows > 1 else 1))


def _turn(connection: socket.socket, request: bytes) -> None:
    """Send some requests together and read all the answers.

    Raises:
        OSError: the worker is gone, or refused one.
    """
    connection.sendall(request * _TOGETHER)
    answers, rest = 0, b""
    while answers < _TOGETHER:
        data = connection.recv(1 << 16)
        answers += (rest + data).count(_GOOD)
        rest = (rest + data)[1 - len(_GOOD) :]
        if not data or b"HTTP/1.1 5" in data or b"HTTP/1.1 4" in data:
            raise ConnectionError("a request of the calibration was refused")


def _clock_of_main() -> Callable[[], int]:
    """CPU nanoseconds of the thread that serves; where the system has no such clock, of all."""
    ident = threading.main_thread().ident
    if hasattr(time, "pthread_getcpuclockid") and ident is not None:
        number = time.pthread_getcpuclockid(ident)
        return partial(time.clock_gettime_ns, number)
    return time.process_time_ns
