"""Receivers that the worker sends records to: kept beside what waits for them."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from modelworks.control.forwarding.forward import Forwarder, receiver_of
from modelworks.control.forwarding.spools import Spool, Spools
from modelworks.core import codec
from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError
from modelworks.core.files import replace_text
from modelworks.core.lock import locked
from modelworks.core.reference import model_name
from modelworks.plugins.load import load

Note = Callable[[str, str, Mapping[str, Any]], None]
MOST: Final = 16
_FILE: Final = "receiver.json"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who gets records.

    Attributes:
        name: of it.
        url: as `receiver_of` reads it.
        settings: of the sink, beside what the URL says; secrets are in files that they name.
    """

    name: str
    url: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a receiver is.

    Attributes:
        receiver: it.
        waiting: segments.
        bytes: of them.
        sent: records, ever.
        dropped: segments that were dropped, because too much waited.
    """

    receiver: Receiver
    waiting: int
    bytes: int
    sent: int
    dropped: int


class Receivers:
    """Those of one data folder.

    Args:
        records: the folder of records.
        note: called with act, subject and detail of what is to be audited.
    """

    def __init__(self, records: Path, note: Note = lambda *_: None) -> None:
        self._segments = records / "segments"
        self._root = records / "forward"
        self._note = note

    def every(self) -> list[Receiver]:
        """By name.

        Raises:
            InvalidError: a file of one cannot be read.
        """
        return [_read(path) for path in sorted(self._root.glob(f"*/{_FILE}"))]

    def states(self) -> list[Standing]:
        """How far each is."""
        return [self._state(one) for one in self.every()]

    def put(self, url: str, name: str = "", settings: Mapping[str, str] | None = None) -> Receiver:
        """Send records to somebody from now on, or elsewhere than before.

        Args:
            url: of the receiver.
            name: empty = the kind of its URL.
            settings: of the sink.

        Raises:
            InvalidError: a URL or a setting that cannot be, or too many receivers.
        """
        kind, _ = receiver_of(url)
        if "@" in urlsplit(url).netloc:
            raise InvalidError(
                "--to: a URL with a password would be kept readable: name a file of it instead "
                "(token_file, credentials, password_file)",
                field="to",
            )
        known = load("sinks", kind).settings
        for setting in settings or {}:
            if setting not in known:
                names = ", ".join(sorted(known))
                raise InvalidError(
                    f"--set {setting}: '{kind}' has no such setting; it has {names}", field="set"
                )
        receiver = Receiver(model_name(name or kind), url, dict(settings or {}))
        if len({receiver.name, *(one.name for one in self.every())}) > MOST:
            raise InvalidError(f"there are {MOST} receivers already: remove one", field="name")
        spool = Spools(self._root).of(receiver.name)
        replace_text(spool.folder / _FILE, json.dumps(codec.encode(receiver)))
        self._note("set", f"receiver/{receiver.name}", {"url": url})
        return receiver

    def remove(self, name: str) -> Standing:
        """Send nothing to somebody any more; what waits for them is dropped.

        Returns:
            How far they were.

        Raises:
            NotFoundError: there is no such receiver.
            UnavailableError: somebody is sending to them now.
        """
        found = next((one for one in self.every() if one.name == name), None)
        if found is None:
            raise NotFoundError(
                f"there is no receiver '{name}': modelworks records receivers list", field="name"
            )
        with locked(self._spool(name).lock, wait_s=5.0):
            state = self._state(found)
            shutil.rmtree(self._root / name)
        self._note("remove", f"receiver/{name}", {"url": found.url, "dropped": state.waiting})
        return state

    def send(self, receiver: Receiver, seconds: float) -> int:
        """Send what waits; how many records were taken.

        Args:
            receiver: to whom.
            seconds: after which no further batch is begun.

        Raises:
            ModelworksError: it does not take them, cannot be reached, or somebody else sends to it.
        """
        spool = self._spool(receiver.name)
        with locked(spool.lock, wait_s=0.0):
            kind, known = receiver_of(receiver.url)
            sink = load("sinks", kind)().open({**known, **receiver.settings})
            try:
                return Forwarder(spool, self._segments, sink).run(seconds)
            finally:
                sink.close()

    def _state(self, receiver: Receiver) -> Standing:
        spool = self._spool(receiver.name)
        sizes = [_size(path) for path in spool.waiting()]
        state = spool.state()
        return Standing(receiver, len(sizes), sum(sizes), state.records, state.dropped)

    def _spool(self, name: str) -> Spool:
        return Spools(self._root).of(name)


def _read(path: Path) -> Receiver:
    try:
        return codec.decode(Receiver, json.loads(path.read_bytes()))
    except (OSError, ValueError, ModelworksError) as error:
        raise InvalidError(
            f"{path} cannot be read: {error}; set the receiver again, or remove its folder",
            field="receiver",
        ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # sent meanwhile
        return 0
