"""Feedback that came in, a file a message, until it is moved into its store."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from modelworks.core import codec
from modelworks.core.errors import UnavailableError
from modelworks.core.files import replace_text
from modelworks.core.ids import uuid7
from modelworks.core.records import Feedback

MOST_WAITING: Final = 20_000
"""Files; while there are more, nothing is taken in."""
_SUFFIX: Final = ".json"


class Inbox:
    """A folder of messages. Any number of processes may put; one at a time takes.

    Args:
        folder: made with the first message, for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, told: Sequence[Feedback]) -> None:
        """Keep a message: on the disk when this returns.

        Raises:
            UnavailableError: no room, or too many wait; nothing of it is kept.
        """
        if len(self._names()) >= MOST_WAITING:
            raise UnavailableError(
                f"{self._folder}: {MOST_WAITING} messages wait there for a worker to move them "
                "into a store: start `modelworks up`, or run `modelworks records compact`",
                retry_after=60,
            )
        text = json.dumps([codec.encode(one) for one in told])
        try:
            replace_text(self._folder / f"{uuid7()}{_SUFFIX}", text, mode=0o700)
        except OSError as error:
            raise UnavailableError(
                f"{self._folder}: feedback cannot be written: {error.strerror or error}"
            ) from error

    def waiting(self, most: int) -> list[Path]:
        """The oldest messages."""
        return [self._folder / name for name in sorted(self._names())[:most]]

    def read(self, paths: Iterable[Path]) -> list[Feedback]:
        """What messages say."""
        return [
            codec.decode(Feedback, one, str(path))
            for path in paths
            for one in json.loads(path.read_text())
        ]

    def delete(self, paths: Iterable[Path]) -> None:
        """Delete messages; twice is quiet."""
        for path in paths:
            path.unlink(missing_ok=True)

    def erase(self, predictions: Iterable[str], keys: Iterable[str]) -> int:
        """Rewrite without what belongs to these; how much went."""
        doomed, named, gone = {*predictions} - {""}, {*keys} - {""}, 0
        for path in self._folder.glob(f".*{_SUFFIX}*"):  # a killed writer's
            path.unlink(missing_ok=True)
        for path in self.waiting(MOST_WAITING + 1):
            told = self.read([path])
            kept = [one for one in told if one.prediction not in doomed and one.key not in named]
            if kept and len(kept) < len(told):
                replace_text(path, json.dumps([codec.encode(one) for one in kept]))
            elif not kept:
                path.unlink(missing_ok=True)
            gone += len(told) - len(kept)
        return gone

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return [path.name for path in self._folder.iterdir() if _whole(path.name)]


def _whole(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")
