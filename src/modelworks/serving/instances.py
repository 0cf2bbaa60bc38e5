"""Several sessions of one model as one: a call takes the next that is free."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from modelworks.core.errors import UNLOADED, InvalidError, UnavailableError
from modelworks.core.instances import CPU, Instances
from modelworks.core.seams import Concurrent, Elsewhere, Generating, Session, Watchable
from modelworks.core.tensor import Signature, Tensors
from modelworks.serving.warmup import warm_up

_PATIENCE_S: Final = 60.0  # that a call waits for a free one; the batcher's never do

Settings = tuple[tuple[str, str], ...]
"""An engine's own."""


def opened(
    groups: Sequence[Instances], settings: Settings, load: Callable[[Settings], Session]
) -> Session:
    """The sessions of a model.

    Args:
        groups: devices and counts; empty = one, as the engine's settings say.
        settings: of the engine.
        load: makes one session.

    Raises:
        ModelworksError: one does not load; nothing stays.
    """
    wanted = [one.device for one in groups for _ in range(one.count)]
    if not wanted:
        return load(settings)
    sessions: list[Session] = []
    try:
        for device in wanted:
            one = load(settings if device == CPU else (*settings, ("device", device)))
            sessions.append(one)
            _refuse_generating(one)
        first = sessions[0]
        for one in sessions[1:]:
            with suppress(InvalidError):  # the first one's warm-up says why
                warm_up(one)
    except BaseException:
        for one in sessions:
            one.close()
        raise
    if len(sessions) == 1:
        return first
    apart = any(isinstance(one, Watchable | Elsewhere) for one in sessions)
    return (GroupElsewhere if apart else Group)(sessions)


def _refuse_generating(session: Session) -> None:
    if isinstance(session, Generating):
        raise InvalidError(
            "instances: an engine that generates shares one copy of its model among all requests "
            "by itself: leave them out",
            field="instances",
        )


class Group:
    """Sessions of the same model; see `core.seams.Session` and `Concurrent`.

    Args:
        sessions: two or more, of one signature.

    Attributes:
        lanes: calls at once.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.signature: Signature = sessions[0].signature
        self.apart = any(one.apart for one in sessions)
        self._sessions = tuple(sessions)
        each = [one.lanes if isinstance(one, Concurrent) else 1 for one in sessions]
        self.lanes = sum(each)
        most = max(each)
        # Every device's first lane comes before any device's second one.
        self._free = deque(
            place for lane in range(most) for place, lanes in enumerate(each) if lane < lanes
        )
        self._changed = threading.Condition()
        self._down: dict[int, str] = {}  # place -> why it does not answer now
        self._closed = False

    def infer(self, inputs: Tensors) -> Sequence[Any]:
        """Run on one of them; see `core.seams.Session.infer`."""
        place = self._taken()
        try:
            return self._sessions[place].infer(inputs)
        finally:
            with self._changed:
                self._free.append(place)
                self._changed.notify()

    def close(self) -> None:
        """Close all of them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for one in self._sessions:
            one.close()

    def _taken(self) -> int:
        """The place of one that is free and answers.

        Raises:
            UnavailableError: none does, or none became free in time.
        """
        with self._changed:
            self._changed.wait_for(self._ready, _PATIENCE_S)
            if self._closed:
                raise UnavailableError(UNLOADED)
            if len(self._down) == len(self._sessions):
                raise UnavailableError(next(iter(self._down.values())))
            for place in self._free:
                if place not in self._down:
                    self._free.remove(place)
                    return place
        raise UnavailableError("every copy of the model is busy; try again later")

    def _ready(self) -> bool:
        if self._closed or len(self._down) == len(self._sessions):
            return True
        return any(place not in self._down for place in self._free)


class GroupElsewhere(Group):
    """The same of sessions that live in other processes; see `Watchable` and `Elsewhere`."""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Be told when none of them answers any more, and when one does again."""
        for place, one in enumerate(self._sessions):
            if isinstance(one, Watchable):
                one.watch(partial(self._heard, changed, place))

    def processes(self) -> tuple[int, ...]:
        """Of all of them."""
        every = [one.processes() for one in self._sessions if isinstance(one, Elsewhere)]
        return tuple(pid for pids in every for pid in pids)

    def _heard(self, changed: Callable[[str], None], place: int, why: str) -> None:
        with self._changed:
            before = len(self._down) == len(self._sessions)
            if why:
                self._down[place] = why
            else:
                self._down.pop(place, None)
            now = len(self._down) == len(self._sessions)
            self._changed.notify_all()
        if now or before:
            changed(why if now else "")
