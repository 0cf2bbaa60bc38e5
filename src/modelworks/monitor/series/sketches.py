"""Sketches of a model's features, hour by hour: bytes to this room."""

import math
from collections.abc import Iterator, Mapping

from modelworks.db.engine import TenantScope
from modelworks.db.session import TenantSession
from modelworks.monitor.series import store
from modelworks.monitor.series.chunk import Key, pack_bytes, unpack_bytes
from modelworks.monitor.series.names import DAY, HOUR


class SketchStore:
    """The sketches of one tenant, a row a model and day.

    Args:
        scope: the tenant's rows.
    """

    def __init__(self, scope: TenantScope) -> None:
        self._scope = scope
        self._where = scope.database.where

    def put(
        self,
        model: str,
        time: float,
        sketches: Mapping[Key, bytes],
        session: TenantSession | None = None,
    ) -> None:
        """Keep the sketches of one hour, in place of those of the same names.

        Args:
            model: whose.
            time: end of the hour, seconds since 1970; rounded up to a whole one.
            sketches: name and labels -> bytes, whatever they mean.
            session: a write transaction to take part in; None = one of its own.
        """
        if session is None:
            with self._scope.write() as own:
                self.put(model, time, sketches, own)
            return
        end = math.ceil(time / HOUR) * HOUR
        start = (end - 1) // DAY * DAY
        place = (end - start) // HOUR - 1
        row = store.rows(session, store.SKETCHES, HOUR, [model], start).get(model)
        held = unpack_bytes(row.body, self._where) if row else {}
        for key, data in sketches.items():
            held.setdefault(key, {})[place] = data
        body = pack_bytes(held)
        if row is None:
            store.add(session, store.SKETCHES, HOUR, model, start, body)
        else:
            row.body = body
        session.flush()

    def read(
        self, model: str, since: float, until: float
    ) -> Iterator[tuple[int, dict[Key, bytes]]]:
        """(end of the hour, sketches) of a model in (since, until], oldest first."""
        first, last = max(0, int(since) // DAY * DAY), int(until) - 1
        with self._scope.read() as session:
            for _, start, body in store.bodies(session, store.SKETCHES, HOUR, model, first, last):
                hours: dict[int, dict[Key, bytes]] = {}
                for key, places in unpack_bytes(body, self._where).items():
                    for place, data in places.items():
                        hours.setdefault(start + (place + 1) * HOUR, {})[key] = data
                for end in sorted(hours):
                    if since < end <= until:
                        yield end, hours[end]
