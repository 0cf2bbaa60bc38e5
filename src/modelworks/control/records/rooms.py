"""Where records, feedback and what belongs to them lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelworks.core.errors import MissingExtraError
from modelworks.core.home import CONTAINERS, Home, Stores
from modelworks.core.seams import FeedbackStore, RecordStore
from modelworks.plugins.load import load


@dataclass(frozen=True, slots=True)
class Rooms:
    """Folders below `records/` of the data folder.

    Attributes:
        root: the folder.
        place: of the stores, where that is not in it: a URL.
    """

    root: Path
    place: str = ""

    @property
    def segments(self) -> Path:
        """What loggers write."""
        return self.root / "segments"

    @property
    def containers(self) -> Path:
        """What loggers in containers write, a folder a deployment."""
        return self.root / CONTAINERS

    @property
    def inbox(self) -> Path:
        """Feedback that came in and is in no store yet."""
        return self.root / "inbox"

    @property
    def joins(self) -> Path:
        """What a join remembers; may be deleted at any time."""
        return self.root / "joins"

    @property
    def receipts(self) -> Path:
        """Of erasures, a file each."""
        return self.root / "receipts"

    @property
    def exports(self) -> Path:
        """Which exports were made."""
        return self.root / "exports.json"

    @property
    def retention(self) -> Path:
        """For how long each model's records are kept, as its policy said last."""
        return self.root / "retention.json"

    @property
    def lock(self) -> Path:
        """Who has it may write to the stores."""
        return self.root / "lock"

    def store(self, kind: str) -> str:
        """Where a store lies: `store` of records, `feedback`."""
        return f"{self.place.rstrip('/')}/{kind}" if self.place else str(self.root / kind)


def rooms_of(home: Home, stores: Stores) -> Rooms:
    """The rooms of a data folder."""
    return Rooms(home.records, stores.records)


def open_records(rooms: Rooms, stores: Stores) -> RecordStore:
    """The store of records.

    Raises:
        MissingExtraError: its libraries are not installed.
        InvalidError, UnavailableError: it cannot be opened.
    """
    found: RecordStore = _open("records", rooms.store("store"), stores)
    return found


def open_feedback(rooms: Rooms, stores: Stores) -> FeedbackStore:
    """The store of feedback; raises as `open_records`."""
    found: FeedbackStore = _open("feedback", rooms.store("feedback"), stores)
    return found


def _open(group: str, where: str, stores: Stores) -> Any:
    kind = "bucket" if "://" in where and not where.startswith("file:") else "folder"
    try:
        return load(group, kind)(where, stores.records_access)
    except MissingExtraError as error:
        raise MissingExtraError("a store of records", "monitor", error.missing) from error
