"""Contract suite for finders of endpoints: subclass `FinderContract`, give it a `Directory`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from modelworks.core.discovery import Finder, Named
from modelworks.core.errors import UnavailableError

_SOON_S = 15.0
_LONGEST_S = 60.0

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that the test may change.

    Attributes:
        finder: that asks it.
        named: what it is asked for.
        unknown: a name that it has never heard of.
        put: makes `named` stand for these addresses, of one port.
        stop: it answers no more.
    """

    finder: Finder
    named: Named
    unknown: Named
    put: Callable[[Sequence[Address]], None]
    stop: Callable[[], None]


class FinderContract:
    """What every finder keeps to."""

    @pytest.fixture
    def directory(self) -> Directory:
        """The directory of this plug-in."""
        raise AssertionError("a subclass gives one")

    def test_all_addresses_in_an_order_that_stays(self, directory: Directory) -> None:
        wanted = [(f"127.0.0.{i}", 8000) for i in (5, 3, 9, 7)]
        directory.put(wanted)
        first = _until(directory, "", wanted)
        again = directory.finder.find(directory.named, "")
        assert again.addresses == first
        assert len(set(first)) == len(first)

    def test_a_change_is_seen_by_who_asks_again(self, directory: Directory) -> None:
        directory.put([("127.0.0.2", 8000)])
        _until(directory, "", [("127.0.0.2", 8000)])
        mark = directory.finder.find(directory.named, "").mark
        directory.put([("127.0.0.2", 8000), ("127.0.0.3", 8000)])
        _until(directory, mark, [("127.0.0.2", 8000), ("127.0.0.3", 8000)])
        directory.put([("127.0.0.3", 8000)])
        _until(directory, mark, [("127.0.0.3", 8000)])

    def test_when_to_ask_again_is_bounded(self, directory: Directory) -> None:
        directory.put([("127.0.0.2", 8000)])
        found = directory.finder.find(directory.named, "")
        assert 0 <= found.again_s <= _LONGEST_S
        assert found.again_s > 0 or found.mark

    def test_a_name_that_nobody_has_is_no_error(self, directory: Directory) -> None:
        directory.put([("127.0.0.2", 8000)])
        assert directory.finder.find(directory.unknown, "").addresses == ()

    def test_nothing_left_is_no_error(self, directory: Directory) -> None:
        directory.put([("127.0.0.2", 8000)])
        _until(directory, "", [("127.0.0.2", 8000)])
        directory.put([])
        _until(directory, "", [])

    def test_a_directory_that_is_away_is_told_of_in_time(self, directory: Directory) -> None:
        directory.put([("127.0.0.2", 8000)])
        directory.stop()
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            directory.finder.find(directory.named, "")
        assert time.monotonic() - began < _SOON_S


def _until(directory: Directory, mark: str, wanted: Sequence[Address]) -> tuple[Address, ...]:
    """What is found once it is what is wanted; a directory may need a moment to take a change."""
    end = time.monotonic() + _SOON_S
    while True:
        found = directory.finder.find(directory.named, mark)
        if sorted(found.addresses) == sorted(wanted):
            return found.addresses
        assert time.monotonic() < end, (found.addresses, wanted)
        mark = found.mark
        time.sleep(0.05)
