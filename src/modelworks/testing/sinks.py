"""Contract suite for record sinks: subclass `SinkContract`, give it a receiver."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.records import Record
from modelworks.core.seams import OpenSink, RecordSink

_SECONDS = 2.0


@dataclass(slots=True)
class Sunk:
    """A sink and what receives for it.

    Attributes:
        sink: that is tested.
        settings: that reach the receiver; the suite adds a `timeout`.
        received: the events that came so far, in their order, as dictionaries.
        stop: nobody listens from now on.
        start: somebody does again, at the same place.
        required: settings that cannot be left out.
        impossible: settings whose value is impossible, by name.
    """

    sink: RecordSink
    settings: Mapping[str, str]
    received: Callable[[], list[dict[str, Any]]]
    stop: Callable[[], None]
    start: Callable[[], None]
    required: tuple[str, ...]
    impossible: Mapping[str, str] = field(default_factory=dict)


def records(count: int, first: int = 0) -> list[Record]:
    """Records that differ in all that matters, with texts of several scripts."""
    return [
        Record(
            id=f"request-{number}",
            at_ns=1_760_000_000_000_000_000 + number,
            model="fraud",
            version="1.2.0",
            key=f"客户 {number}",
            rows=2,
            total_ns=1000 + number,
            inputs={"amount": [1.5, None], "place": ["Überlingen", '"quoted"\n']},
            outputs=None if number % 3 == 0 else {"score": [0.25, 1e-300]},
        )
        for number in range(first, first + count)
    ]


class SinkContract:
    """What every sink owes. Subclasses give a fixture `case`, a `Sunk`."""

    def test_describes_itself(self, case: Sunk) -> None:
        kind = type(case.sink)
        assert kind() is not None
        assert kind.name
        assert kind.experimental in {True, False}
        assert set(case.required) | {"timeout"} <= set(kind.settings)
        assert all(kind.settings.values())

    def test_all_arrive_as_they_are(self, case: Sunk) -> None:
        sent = records(25)
        opened = _open(case)
        try:
            opened.send(sent[:20])
            opened.send(sent[20:])
        finally:
            opened.close()
        found = sorted(case.received(), key=lambda event: str(event["time"]))
        assert [event["data"]["id"] for event in found] == [record.id for record in sent]
        assert len({event["id"] for event in found}) == len(sent)
        for event, record in zip(found, sent, strict=True):
            assert event["specversion"] == "1.0"
            assert event["source"] == "/modelworks/default/models/fraud/versions/1.2.0"
            assert event["data"]["inputs"] == record.inputs
            assert event["data"]["outputs"] == record.outputs
            assert event["data"]["key"] == record.key
        assert found[7]["time"] == "2025-10-09T08:53:20.000000007Z"

    def test_nothing_is_nothing(self, case: Sunk) -> None:
        opened = _open(case)
        opened.send([])
        opened.close()
        opened.close()
        assert case.received() == []

    def test_unknown_and_missing_settings_are_refused(self, case: Sunk) -> None:
        with pytest.raises(InvalidError, match="no setting") as refused:
            case.sink.open({**case.settings, "colour": "red"})
        assert refused.value.field == "colour"
        for name in case.required:
            rest = {key: value for key, value in case.settings.items() if key != name}
            with pytest.raises(InvalidError) as refused:
                case.sink.open(rest)
            assert refused.value.field == name
        for name, value in {"timeout": "soon", **case.impossible}.items():
            with pytest.raises(InvalidError) as refused:
                case.sink.open({**case.settings, name: value})
            assert refused.value.field == name

    def test_nobody_there_is_said_in_time_and_the_same_ones_may_come_again(
        self, case: Sunk
    ) -> None:
        opened = _open(case)
        try:
            opened.send(records(3))
            case.stop()
            began = time.monotonic()
            with pytest.raises(UnavailableError):
                opened.send(records(4, first=3))
            assert time.monotonic() - began < 4 * _SECONDS
            case.start()
            _until_taken(opened)
        finally:
            opened.close()
        assert {event["data"]["id"] for event in case.received()} >= {
            f"request-{number}" for number in range(7)
        }


def _open(case: Sunk) -> OpenSink:
    return case.sink.open({**case.settings, "timeout": str(_SECONDS)})


def _until_taken(opened: OpenSink) -> None:
    for _ in range(10):
        try:
            opened.send(records(4, first=3))
        except UnavailableError:
            continue
        return
    raise AssertionError("the receiver is back, and nothing is taken")
