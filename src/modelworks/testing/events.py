"""Contract suite for brokers: subclass `EventContract`, give it a broker that runs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.seams import Event, EventBus, OpenEvents

_SECONDS = 30.0
Message = tuple[Mapping[str, str], bytes]


@dataclass(slots=True)
class Broker:
    """A plug-in, and the broker that it talks to.

    Attributes:
        bus: that is tested.
        settings: that reach the broker.
        send: puts a message where `subject` listens: data, headers.
        answers: what came to `answers` so far.
        dead: what came to `dead`.
        elsewhere: what came to the subject `reply`.
        reply: a subject of answers that one message names.
        required: settings that cannot be left out.
        impossible: settings whose value is impossible, by name.
        stop: nobody listens from now on.
        start: somebody does again, with what was there.
    """

    bus: EventBus
    settings: Mapping[str, str]
    send: Callable[[bytes, Mapping[str, str]], None]
    answers: Callable[[], list[Message]]
    dead: Callable[[], list[Message]]
    elsewhere: Callable[[], list[Message]]
    reply: str
    required: tuple[str, ...]
    impossible: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[], None] = lambda: None
    start: Callable[[], None] = lambda: None


def taken(opened: OpenEvents, count: int, seconds: float = _SECONDS) -> list[Event]:
    """So many messages."""
    found: list[Event] = []
    until = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} messages came"
        found += opened.take(count - len(found), 0.5)
    return found


def told(look: Callable[[], list[Message]], count: int) -> list[Message]:
    """So many messages, seen by somebody else."""
    until = time.monotonic() + _SECONDS
    while len(found := look()) < count:
        assert time.monotonic() < until, f"{len(found)} of {count} messages came"
        time.sleep(0.02)
    return found


class EventContract:
    """What every broker owes. Subclasses give a fixture `case`, a `Broker`."""

    def test_what_was_sent_comes_as_it_was_sent(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        try:
            case.send(b'{"x": "\xc3\xbc"}', {"correlation-id": "c-1", "content-type": "a/b"})
            (event,) = taken(opened, 1)
            assert (event.id, event.data) == ("c-1", b'{"x": "\xc3\xbc"}')
            assert event.headers["content-type"] == "a/b"
            opened.answer(event, b"", {})
        finally:
            opened.close()

    def test_an_answer_is_published_and_its_message_does_not_come_again(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        try:
            case.send(b"one", {"correlation-id": "c-1"})
            case.send(b"two", {})
            for event in taken(opened, 2):
                opened.answer(event, b"answer to " + event.data, {"content-type": "x/y"})
            found = told(case.answers, 2)
            assert {data for _, data in found} == {b"answer to one", b"answer to two"}
            first = next(headers for headers, data in found if data.endswith(b"one"))
            assert (first["correlation-id"], first["content-type"]) == ("c-1", "x/y")
        finally:
            opened.close()
        opened = case.bus.open(case.settings, 4)
        try:
            case.send(b"three", {})
            assert [event.data for event in taken(opened, 1)] == [b"three"]
        finally:
            opened.close()

    def test_what_was_not_answered_comes_again(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        case.send(b"one", {"correlation-id": "c-1"})
        (event,) = taken(opened, 1)
        opened.keep(event)
        opened.close()
        opened = case.bus.open(case.settings, 4)
        try:
            (event,) = taken(opened, 1)
            assert (event.id, event.data) == ("c-1", b"one")
            opened.answer(event, b"yes", {})
            assert [data for _, data in told(case.answers, 1)] == [b"yes"]
        finally:
            opened.close()

    def test_what_is_refused_goes_where_the_dead_go_with_the_reason(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        try:
            case.send(b"nonsense", {"correlation-id": "c-1"})
            (event,) = taken(opened, 1)
            opened.refuse(event, "it is\nno row: Gr\u00fc\u00dfe")
            ((headers, data),) = told(case.dead, 1)
            assert data == b"nonsense"
            assert headers["correlation-id"] == "c-1"
            assert headers["refused-because"].startswith("it is no row: Gr")
            assert case.answers() == []
            case.send(b"next", {})
            assert [event.data for event in taken(opened, 1)] == [b"next"]
        finally:
            opened.close()

    def test_an_answer_goes_where_its_message_wants_it(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        try:
            case.elsewhere()  # listens from here on
            case.send(b"one", {"correlation-id": "c-1", "reply-to": case.reply})
            (event,) = taken(opened, 1)
            assert event.reply == case.reply
            opened.answer(event, b"yes", {})
            ((headers, data),) = told(case.elsewhere, 1)
            assert (headers["correlation-id"], data) == ("c-1", b"yes")
            assert case.answers() == []
        finally:
            opened.close()

    def test_nothing_comes_where_nothing_was_sent(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 4)
        try:
            assert list(opened.take(4, 0.2)) == []
        finally:
            opened.close()
            opened.close()

    def test_settings_are_looked_at(self, case: Broker) -> None:
        with pytest.raises(InvalidError) as refused:
            case.bus.open({**case.settings, "colour": "red"}, 4)
        assert refused.value.field == "colour"
        for name in case.required:
            given = {key: value for key, value in case.settings.items() if key != name}
            with pytest.raises(InvalidError) as refused:
                case.bus.open(given, 4)
            assert refused.value.field == name
        for name, value in {**case.impossible, "timeout": "soon"}.items():
            with pytest.raises(InvalidError) as refused:
                case.bus.open({**case.settings, name: value}, 4)
            assert refused.value.field == name


class OutageContract:
    """What a broker owes that can be stopped, and that bounds what it hands over."""

    def test_no_more_come_than_may_be_under_way(self, case: Broker) -> None:
        opened = case.bus.open(case.settings, 2)
        try:
            for number in range(5):
                case.send(b"%d" % number, {})
            first = taken(opened, 2)
            assert list(opened.take(4, 0.3)) == []
            opened.answer(first[0], b"", {})
            assert [event.data for event in taken(opened, 1)] == [b"2"]
        finally:
            opened.close()

    def test_a_broker_that_is_away_is_told_and_found_again(self, case: Broker) -> None:
        opened = case.bus.open({**case.settings, "timeout": "2"}, 4)
        try:
            case.send(b"one", {"correlation-id": "c-1"})
            (event,) = taken(opened, 1)
            case.stop()
            with pytest.raises(UnavailableError):
                opened.answer(event, b"yes", {})  # it may be on its way all the same
            case.start()
            (event,) = _again(opened)
            assert event.id == "c-1"
            _until_taken(opened, event)
            assert {data for _, data in told(case.answers, 1)} == {b"yes"}
        finally:
            opened.close()


def _again(opened: OpenEvents) -> list[Event]:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        try:
            return taken(opened, 1, 5.0)
        except (UnavailableError, AssertionError):
            time.sleep(0.1)
    raise AssertionError("the message did not come again")


def _until_taken(opened: OpenEvents, event: Event) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            return opened.answer(event, b"yes", {})
        except UnavailableError:
            assert time.monotonic() < until
            time.sleep(0.1)
