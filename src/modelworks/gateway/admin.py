"""The admin address: metrics, and what the gateway thinks of everything, as JSON.

Made on a thread: a thousand routes make megabytes of text, for which no caller shall wait.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from modelworks.core.ids import iso
from modelworks.edge.answer import JSON, error_body
from modelworks.edge.exchange import Exchange
from modelworks.edge.listener import Listener
from modelworks.gateway.follow import Follower
from modelworks.gateway.front import Front
from modelworks.gateway.metrics import counted, families
from modelworks.gateway.own import LIVE, READY, Own
from modelworks.gateway.tallies import Tallies
from modelworks.protocol.openmetrics import (
    OPENMETRICS,
    TEXT,
    wants_openmetrics,
    write_openmetrics,
    write_text,
)

_MOST: Final = 4  # answers under way; more are told to come again


class Admin:
    """A handler of `edge.Listener`.

    Args:
        front: of the worker.
        own: its readiness.
        tallies: of all workers.
        follower: of the snapshot.
        listener: of callers.
        more: what else the state tells, `{"fetch": ...}`.
        began: when the gateway did, all workers together, seconds since 1970; 0 = now.
    """

    def __init__(
        self,
        front: Front,
        own: Own,
        tallies: Tallies,
        follower: Follower,
        listener: Listener,
        more: Callable[[], dict[str, Any]],
        began: float = 0.0,
    ) -> None:
        self._front = front
        self._own = own
        self._tallies = tallies
        self._follower = follower
        self._listener = listener
        self._more = more
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = began or time.time()

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if exchange.method not in {b"GET", b"HEAD"}:
            exchange.reply(405, error_body("GET only"), JSON, ((b"Allow", b"GET"),))
            return
        match exchange.path:
            case b"/metrics":
                accept = exchange.headers.get(b"accept", b"").decode("latin-1")
                asked = parse_qs(exchange.query.decode("ascii", "replace"))
                self._later(exchange, lambda: self._metrics(accept, asked.get("route", [])))
            case b"/-/state":
                self._later(exchange, lambda: (orjson.dumps(self.state()), JSON))
            case path if path == LIVE:
                exchange.reply(200, b'{"live":true}', JSON)
            case path if path == READY:
                ready = self._own.ready()
                body = orjson.dumps({"ready": ready})
                exchange.reply(200 if ready else 503, body, JSON)
            case _:
                message = "there are /metrics, /-/state, /-/live and /-/ready here"
                exchange.reply(404, error_body(message), JSON)

    def _later(self, exchange: Exchange, make: Callable[[], tuple[bytes, bytes]]) -> None:
        if len(self._tasks) >= _MOST:
            exchange.reply(503, error_body("busy"), JSON, ((b"Retry-After", b"1"),))
            return
        task = self._front.loop.create_task(_answer(exchange, make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _metrics(self, accept: str, routes: list[str]) -> tuple[bytes, bytes]:
        """All of them; or what was counted of some routes, for whoever asks every second."""
        listener = self._listener
        counts = self._tallies.all()
        now = (listener.in_flight, listener.connections, self._began)
        if routes:
            found = counted(counts.of(routes), self._began)
        else:
            found = families(counts, self._front.table, *now)
        if wants_openmetrics(accept):
            return write_openmetrics(found, self._began), OPENMETRICS
        return write_text(found), TEXT

    def state(self) -> dict[str, Any]:
        """Everything, of this worker."""
        table, follower, now = self._front.table, self._follower, time.monotonic()
        shadows = self._front.shadows
        told: dict[str, Any] = {
            "ready": self._own.ready(),
            "generation": table.generation if table is not None else None,
            "taken": iso(int(follower.taken * 1e9)) if follower.taken else None,
            "problem": follower.problem or None,
            "callers": self._listener.connections,
            "in_flight": self._listener.in_flight,
            "shadows": {
                "waiting": shadows.waiting,
                "under_way": shadows.under_way,
                "bytes": shadows.held,
            },
            **self._more(),
        }
        if table is None:
            return told
        told["endpoints"] = [
            {
                "url": place.url,
                "ready": place.ready,
                "outstanding": place.outstanding,
                "connections": place.connections,
            }
            for place in list(table.places.values())
        ]
        told["routes"] = [
            {
                "name": name,
                "arms": {
                    arm: [
                        {"url": seat.place.url, "rests_s": round(max(0, seat.rests_until - now), 1)}
                        for seat in seats.all
                    ]
                    for arm, seats in state.seats.items()
                },
                "further_tries": round(state.budget.saved, 1),
            }
            for name, state in list(table.routes.items())
        ]
        return told


async def _answer(exchange: Exchange, make: Callable[[], tuple[bytes, bytes]]) -> None:
    body, kind = await asyncio.to_thread(make)
    exchange.reply(200, body, kind)
