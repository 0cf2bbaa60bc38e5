"""What a worker's taps note goes to the logger every 40 ms, or is dropped.

Nothing here waits: what finds no room is counted and let go, and requests are answered all the
same.
"""

import asyncio
import logging
import socket
from typing import Any, Final

import orjson

from modelworks.core import codec
from modelworks.core.records import RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Signature
from modelworks.protocol.records.calls import pack_model
from modelworks.protocol.records.fields import headers_of, problem_of
from modelworks.serving.block import Block
from modelworks.serving.logger_link import LoggerLink
from modelworks.serving.recorded import DROPPED, LOST, RECORDED, UNREADABLE
from modelworks.serving.tap import Tap

_log = logging.getLogger("modelworks.serving")
PERIOD_S: Final = 0.04
"""Less than half of what a killed server may lose; each time costs as dozens of requests do."""
_CLOSE_S: Final = 2.0


class Outbox:
    """Of one worker, on its loop.

    Args:
        door: where connections are handed to the logger; stays the caller's.
        block: the counters.
    """

    def __init__(self, door: socket.socket, block: Block) -> None:
        self._block = block
        self._link = LoggerLink(door, self._tally)
        self._models: list[tuple[Tap, memoryview]] = []
        self._known: dict[bytes, Tap] = {}
        self._timer: asyncio.TimerHandle | None = None

    def tap(self, model: ServedModel, signature: Signature) -> Tap | None:
        """What notes the requests of a model that is loaded now; None = none are recorded."""
        policy = model.records
        if policy is None or not policy.sample:
            return None
        if problem := problem_of(policy, signature):
            _log.error("%s %s is not recorded: %s", model.name, model.version, problem)
            return None
        text = orjson.dumps(told_of(model, signature, policy))
        if (known := self._known.get(text)) is not None:  # it was loaded before
            return known
        number = len(self._models)
        names = [name.encode() for name in headers_of(policy)]
        tap = self._known[text] = Tap(
            self._due, self._room, number, policy.sample, policy.max_bytes, names
        )
        self._models.append((tap, self._block.region(model.name, model.version)))
        self._link.begin_with(pack_model(number, text))
        return tap

    async def close(self) -> None:
        """Send what was noted; within two seconds, what is not kept then is lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        await self._link.close(_CLOSE_S)

    def _due(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        for tap, cells in self._models:
            if messages := tap.take():
                self._link.send(tap.number, messages)
            if tap.lost:
                cells[DROPPED] += tap.lost
                tap.lost = 0

    def _room(self) -> int:
        return self._link.room

    def _tally(self, number: int, kept: int, lost: int, unreadable: int) -> None:
        cells = self._models[number][1]
        cells[RECORDED] += kept
        cells[LOST] += lost
        cells[UNREADABLE] += unreadable


def told_of(model: ServedModel, signature: Signature, policy: RecordPolicy) -> dict[str, Any]:
    """What the logger needs to know of a model."""
    return {
        "name": model.name,
        "version": model.version,
        "revision": model.revision,
        "variant": model.variant,
        "tenant": model.tenant,
        "signature": codec.encode(signature),
        "policy": codec.encode(policy),
        "headers": headers_of(policy),
    }
