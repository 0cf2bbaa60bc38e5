"""Well-formed, malformed and hostile exchanges of HTTP/2, as bytes on a real socket."""

from pathlib import Path

import pytest

from http2_exchanges import table
from http2_served import Called

pytestmark = pytest.mark.unit

GOOD = {case.title: case for case in table.good()}
BAD = {f"{case.group}: {case.title}": case for case in table.bad()}
FLOODED = 30_000  # bytes that are not sent in pieces


@pytest.fixture(scope="module")
def called():
    with Called() as it:
        yield it


def played(called, case, pieces):
    """What happens, and how many requests the application saw."""
    seen = len(called.seen)
    wire = called.wire(b"")
    with wire.sock:
        wire.send(case.sent, pieces if len(case.sent) < FLOODED else 1)
        events = wire.rest()
    return wire, tuple(events), len(called.seen) - seen


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("pieces", [1, 40])
def test_lawful(called, name, pieces):
    case = GOOD[name]
    wire, events, handled = played(called, case, pieces)
    assert events == case.events
    assert handled == case.handled
    assert not wire.over


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("pieces", [1, 40])
def test_malformed_or_hostile(called, name, pieces):
    case = BAD[name]
    wire, events, handled = played(called, case, pieces)
    if case.handled == -1:
        events = events[-1:]
    else:
        assert handled == case.handled
    assert events == case.events
    assert wire.over == any(event.startswith("GOAWAY") for event in events)


def test_nothing_of_them_is_left(called):
    called.until(lambda: called.listener.connections == 0)
    called.until(lambda: called.listener.in_flight == 0)
    assert called.call(lambda: called.listener._hub.buffered) == 0


def test_there_are_enough_of_them():
    assert len(BAD) == len(table.bad())
    assert len({case.sent for case in table.bad()}) >= 130


def test_the_page_is_as_the_table_writes_it():
    written = "run: python tests/http2_exchanges/table.py"
    assert table.PAGE.read_text() == table.page(), written


def test_every_timed_exchange_has_its_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_http2_*.py"))
    assert [case.test for case in table.timed() if f"def {case.test}(" not in here] == []
