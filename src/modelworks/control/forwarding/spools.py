"""What is still to be sent on: a folder a receiver, with links to closed segments."""

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.records import Record
from modelworks.core.reference import model_name
from modelworks.protocol.records import read_segment
from modelworks.protocol.records.frames import MAGIC, encode_frame
from modelworks.protocol.records.segments import SEALED

_log = logging.getLogger("modelworks.records")
LARGEST: Final = 1 << 30
"""Bytes that wait for one receiver at most; beyond it the oldest segments are dropped."""
_STATE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class State:
    """How far a receiver is.

    Attributes:
        segment: that is under way; empty = none.
        size: of it in bytes: one that was rewritten meanwhile begins anew.
        sent: records of it that were taken.
        done: segments that were sent and may still lie where loggers wrote them.
        records: that were taken in all.
        dropped: segments that were dropped, because too much waited.
    """

    segment: str = ""
    size: int = 0
    sent: int = 0
    done: tuple[str, ...] = ()
    records: int = 0
    dropped: int = 0


class Spool:
    """What waits for one receiver.

    Args:
        folder: of it.
        largest: bytes.
    """

    def __init__(self, folder: Path, largest: int = LARGEST) -> None:
        self.folder = folder
        self._largest = largest

    @property
    def lock(self) -> Path:
        """Who has it may send."""
        return self.folder / "lock"

    def waiting(self) -> list[Path]:
        """Segments that are still to be sent, oldest first."""
        return sorted(self.folder.glob(f"*{SEALED}"))

    def state(self) -> State:
        """How far it is; from the beginning, where nobody knows."""
        try:
            return codec.decode(State, json.loads((self.folder / _STATE).read_bytes()))
        except (OSError, ValueError, ModelworksError):
            return State()

    def note(self, state: State) -> None:
        """Keep how far it is."""
        replace_text(self.folder / _STATE, json.dumps(codec.encode(state)), 0o700)

    def take(self, path: Path) -> None:
        """Link a closed segment, unless it was sent already; twice is quiet.

        Raises:
            UnavailableError: the disk takes no more.
        """
        mine = self.folder / path.name
        if mine.exists() or path.name in self.state().done:
            return
        try:
            _link(path, mine)
        except FileNotFoundError:  # it was compacted meanwhile, and taken by who did
            return
        except OSError as error:
            raise UnavailableError(
                f"{mine}: a segment that is to be sent on cannot be kept: {error.strerror}"
            ) from error
        self._mind()

    def erase(self, gone: frozenset[str], forms: frozenset[str]) -> int:
        """Rewrite without some records, by id or subject; how many went."""
        count = 0
        for path in self.waiting():
            with suppress(FileNotFoundError):  # it was sent meanwhile
                every = list(read_segment(path))
                kept = [r for r in every if r.id not in gone and r.subject not in forms]
                if len(kept) < len(every):
                    _replace(path, kept)
                    count += len(every) - len(kept)
        return count

    def _mind(self) -> None:
        """Drop the oldest while too much waits."""
        paths = self.waiting()
        sizes = [path.stat().st_size for path in paths]
        dropped = 0
        while paths and sum(sizes) > self._largest:
            paths.pop(0).unlink(missing_ok=True)
            sizes.pop(0)
            dropped += 1
        if dropped:
            state = self.state()
            self.note(replace(state, dropped=state.dropped + dropped))
            _log.warning(
                "%s: more than %d bytes wait for the receiver; the %d oldest segments were dropped",
                *(self.folder.name, self._largest, dropped),
            )


class Spools:
    """Those of all receivers.

    Args:
        root: a folder with one a receiver.
    """

    name = "forward"

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, receiver: str) -> Spool:
        """That of one receiver, made where it is not there.

        Raises:
            InvalidError: no name.
        """
        folder = self._root / model_name(receiver)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Spool(folder)

    def take(self, path: Path) -> None:
        """Link a closed segment for every receiver, before it is deleted."""
        for spool in self._every():
            spool.take(path)

    def erase(self, predictions: Sequence[str], forms: Sequence[str]) -> int:
        """See `control.records.erase.Erasable`."""
        gone, known = frozenset(predictions), frozenset(forms)
        return sum(spool.erase(gone, known) for spool in self._every())

    def _every(self) -> Iterator[Spool]:
        with suppress(FileNotFoundError):
            for folder in sorted(self._root.iterdir()):
                if folder.is_dir():
                    yield Spool(folder)


def _link(path: Path, to: Path) -> None:
    """A link, or a copy where the file system has none."""
    try:
        os.link(path, to)
    except (FileExistsError, FileNotFoundError):
        if not to.exists():
            raise
    except OSError:
        temporary = to.with_suffix(".tmp")
        try:
            shutil.copyfile(path, temporary)
            temporary.replace(to)
        finally:
            temporary.unlink(missing_ok=True)


def _replace(path: Path, records: Iterable[Record]) -> None:
    """Another file in the place of a link: the segment itself is somebody else's."""
    found: list[Any] = list(records)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(MAGIC)
        if found:
            file.write(encode_frame(found))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
