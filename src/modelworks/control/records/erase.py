"""Erases a person: from segments, stores, feedback, exports, caches, and the vault of tokens."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelworks.control.records.compact import compact
from modelworks.control.records.containers import take_in, written
from modelworks.control.records.export import Exports
from modelworks.control.records.formats import format_of
from modelworks.control.records.forms import Forms
from modelworks.control.records.rooms import Rooms
from modelworks.core import codec
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.ids import uuid7
from modelworks.core.records import Scan
from modelworks.core.seams import FeedbackStore, RecordStore
from modelworks.monitor.feedback.inbox import Inbox
from modelworks.protocol.records import OPEN
from modelworks.protocol.records.segments import recover

Progress = Callable[[str], None]
_WAIT_S: Final = 30.0
"""How long a logger may take to close the segment under way; it does so every ten seconds."""
_LOOK_S: Final = 0.1


class Erasable(Protocol):
    """Somewhere else where something of a prediction may lie: a cache."""

    @property
    def name(self) -> str:
        """As receipts say it."""
        ...

    def erase(self, predictions: Sequence[str], forms: Sequence[str]) -> int:
        """Delete what belongs to these predictions, or to a person by any form of its name."""
        ...


@dataclass(frozen=True, slots=True)
class Derived:
    """A cache of what was made of rows. Nobody knows of whose, and it is made again: all goes.

    Attributes:
        name: of it.
        folder: of its files.
    """

    name: str
    folder: Path

    def erase(self, predictions: Sequence[str], forms: Sequence[str]) -> int:
        """Delete all of it; how many files went."""
        del predictions, forms
        count = sum(1 for path in self.folder.rglob("*") if path.is_file())
        shutil.rmtree(self.folder, ignore_errors=True)
        return count


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An hour of a store, before and after; the marks say what lay in it."""

    model: str
    since_ns: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did. It does not say whose.

    Attributes:
        id: of it.
        at_ns: when it ended, UTC.
        tenant: whose records.
        records: that went.
        feedback: that went.
        exported: lines of exports that went.
        vault: entries that went.
        caches: by name, entries that went.
        searched: where it was looked.
        rewritten: hours of the store of records.
        exports: files that were rewritten.
        left: of records, after it; 0, or it failed.
    """

    id: str
    at_ns: int
    tenant: str
    records: int
    feedback: int
    exported: int
    vault: int
    caches: dict[str, int]
    searched: tuple[str, ...]
    rewritten: tuple[Rewritten, ...]
    exports: tuple[str, ...]
    left: int


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases persons of one tenant. Its caller holds the lock of the stores.

    Attributes:
        rooms: where everything lies.
        records: the store.
        feedback: the store.
        inbox: of feedback.
        forms: of values.
        tenant: whose.
        caches: further places.
        wait_s: for the segment under way.
    """

    rooms: Rooms
    records: RecordStore
    feedback: FeedbackStore
    inbox: Inbox
    forms: Forms
    tenant: str
    caches: tuple[Erasable, ...] = ()
    wait_s: float = _WAIT_S

    def erase(self, subject: str, now_ns: Callable[[], int], say: Progress) -> Receipt:
        """Erase everything of a person that was recorded before this was called.

        Whoever is killed in the middle does it again: what is found by the records goes before
        them, and the vault's entry, by which tokens are found, goes last.

        Raises:
            InvalidError: no subject.
            UnavailableError: a place cannot be rewritten, or a segment is not closed in time.
        """
        if not subject.strip():
            raise InvalidError("whose records? The subject is empty", field="subject")
        say("waiting for the segment under way")
        self._drain()
        forms = self.forms.of(subject)
        say("looking for records")
        predictions, keys = self._found(forms)
        before = {(p.model, p.since_ns): p.mark for p in self.records.parts(Scan(self.tenant))}
        say("feedback")
        alike = list(self.forms.alike([*forms, *keys]).values())
        told = self.inbox.erase(predictions, alike)
        told += self.feedback.erase(self.tenant, predictions, alike)
        say("exports and caches")
        exports = self._exports(forms)
        caches = {one.name: one.erase(predictions, forms) for one in self.caches}
        shutil.rmtree(self.rooms.joins, ignore_errors=True)  # made again; hashes of keys are in it
        say("records")
        gone = self.records.erase(self.tenant, forms)
        left = len(self._found(forms)[0])
        after = {(p.model, p.since_ns): p.mark for p in self.records.parts(Scan(self.tenant))}
        receipt = Receipt(
            id=uuid7(),
            at_ns=now_ns(),
            tenant=self.tenant,
            records=gone,
            feedback=told,
            exported=sum(exports.values()),
            vault=self.forms.forget(subject),
            caches=caches,
            searched=self._searched(),
            rewritten=tuple(
                Rewritten(*place, mark, after.get(place, ""))
                for place, mark in sorted(before.items())
                if after.get(place) != mark
            ),
            exports=tuple(sorted(exports)),
            left=left,
        )
        self._keep(receipt)
        if left:
            raise UnavailableError(f"{left} records of the subject came meanwhile: erase again")
        return receipt

    def _drain(self) -> None:
        """Bring everything that was written until now into the stores."""
        folder, containers = self.rooms.segments, self.rooms.containers
        waiting = {*folder.glob(f"*{OPEN}"), *written(containers)}
        deadline = time.monotonic() + self.wait_s
        while waiting:
            recover(folder)
            take_in(containers, folder)
            waiting = {path for path in waiting if path.exists()}
            if waiting and time.monotonic() >= deadline:
                raise UnavailableError(
                    f"{min(waiting)} is still being written after {self.wait_s:.0f} s, and may "
                    "hold records of the subject: nothing was erased; see that its logger is well, "
                    "then erase again"
                )
            if waiting:
                time.sleep(_LOOK_S)
        take_in(containers, folder)
        compact(folder, self.records, self.inbox, self.feedback)

    def _found(self, forms: Sequence[str]) -> tuple[list[str], list[str]]:
        """Ids of the subject's records, and their keys."""
        ids, keys, doomed = set(), set(), set(forms)
        for batch in self.records.scan(Scan(self.tenant), ["id", "key", "subject"]):
            rows = zip(*(batch.columns[name] for name in ("id", "key", "subject")), strict=True)
            for name, key, subject in rows:
                if subject in doomed:
                    ids.add(str(name))
                    keys.add(str(key))
        return sorted(ids), sorted(keys - {""})

    def _exports(self, forms: Sequence[str]) -> dict[str, int]:
        """Files that were rewritten, and how many lines went."""
        register = Exports(self.rooms.exports)
        mine: Iterable[tuple[str, int]] = (
            (one.path, format_of(one.format).erase(Path(one.path), forms))
            for one in register.all()
            if one.tenant == self.tenant
        )
        return {path: gone for path, gone in mine if gone}

    def _searched(self) -> tuple[str, ...]:
        rooms = self.rooms
        places = (
            rooms.segments,
            rooms.containers,
            rooms.store("store"),
            rooms.inbox,
            rooms.store("feedback"),
        )
        caches = (f"cache {one.name}" for one in self.caches)
        return (*map(str, places), "exports", "vault", *caches)

    def _keep(self, receipt: Receipt) -> None:
        path = self.rooms.receipts / f"{receipt.id}.json"
        replace_text(path, json.dumps(codec.encode(receipt), indent=1) + "\n", mode=0o700)
