"""What a pump does with messages: answered, refused, held; bounded; stopped at any moment."""

import threading
import time

import pytest

from modelworks.client.wire import Wire
from modelworks.control.eventing.asking import asker, broker_of
from modelworks.control.eventing.pump import Answer, Pump
from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.seams import Event

pytestmark = pytest.mark.unit
YES = Answer(b"yes", "application/json")


class Line:
    """A broker in memory: what is not answered or refused is still `open`."""

    def __init__(self, count=0):
        self.waiting = [Event(f"c-{n}", b"%d" % n) for n in range(count)]
        self.open, self.answered, self.dead, self.kept = {}, {}, {}, 0
        self.most = 0
        self.away = []
        self._lock = threading.Lock()

    def take(self, most, seconds):
        with self._lock:
            found, self.waiting = self.waiting[:most], self.waiting[most:]
            self.open |= {event.id: event for event in found}
            self.most = max(self.most, len(self.open))
        if not found:
            time.sleep(min(seconds, 0.005))
        return found

    def answer(self, event, data, headers):
        self._trouble()
        with self._lock:
            self.answered[event.id] = (data, headers)
            del self.open[event.id]

    def refuse(self, event, reason):
        self._trouble()
        with self._lock:
            self.dead[event.id] = reason
            del self.open[event.id]

    def keep(self, event):
        self.kept += 1

    def close(self):
        pass

    def _trouble(self):
        with self._lock:
            error = self.away.pop() if self.away else None
        if error is not None:
            raise error


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr("modelworks.control.eventing.pump._FIRST_S", 0.001)


def test_every_message_is_answered_and_no_more_are_taken_than_may_be_under_way():
    line = Line(50)
    gate = threading.Semaphore(0)

    def ask(event):
        gate.acquire()
        return Answer(b"to " + event.data, "x/y", "7")

    pump = Pump(line, ask, at_once=3)
    thread = threading.Thread(target=pump.run, args=(50,))
    thread.start()
    gate.release(50)
    thread.join()
    assert line.answered["c-7"] == (
        b"to 7",
        {"content-type": "x/y", "inference-header-content-length": "7"},
    )
    assert (pump.tally.answered, line.open, line.most) == (50, {}, 3)


@pytest.mark.parametrize("error", [InvalidError("no row"), NotFoundError("no model")])
def test_what_the_model_refuses_goes_to_the_dead_with_the_reason(error):
    line = Line(2)

    def ask(event):
        if event.data == b"1":
            raise error
        return YES

    pump = Pump(line, ask)
    pump.run(2)
    assert line.dead == {"c-1": error.message}
    assert (pump.tally.answered, pump.tally.refused) == (1, 1)


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), DeadlineError("late"), ForbiddenError("no")]
)
def test_while_the_server_is_away_a_message_is_held_and_asked_again(error):
    line, tries = Line(1), []

    def ask(event):
        tries.append(event)
        if len(tries) < 5:
            raise error
        return YES

    notes = []
    pump = Pump(line, ask, note=notes.append)
    pump.run(1)
    assert list(line.answered) == ["c-0"]
    assert (line.dead, line.kept, pump.tally.held) == ({}, 4, 4)
    assert notes == [error.message]  # not once for every try


def test_a_server_that_fails_at_a_message_refuses_it_after_three_tries():
    line, tries = Line(1), []

    def ask(event):
        tries.append(event)
        raise CrashedError("boom")

    Pump(line, ask).run(1)
    assert (len(tries), line.dead) == (3, {"c-0": "boom"})


def test_an_answer_that_the_broker_does_not_take_is_kept_and_the_model_is_not_asked_again():
    line, tries = Line(1), []
    line.away = [UnavailableError("away")] * 3

    def ask(event):
        tries.append(event)
        return YES

    Pump(line, ask).run(1)
    assert (len(tries), list(line.answered)) == (1, ["c-0"])


def test_a_broker_that_would_refuse_every_answer_ends_it_with_the_reason():
    line = Line(3)
    line.away = [InvalidError("no stream", field="answers")]
    with pytest.raises(InvalidError, match="no stream"):
        Pump(line, lambda _: YES, at_once=1).run()
    assert len(line.open) == 1  # not acknowledged: it comes again


def test_an_answer_that_the_broker_never_takes_sends_its_message_to_the_dead():
    line = Line(3)
    line.away = [InvalidError("the payload is too large")]
    pump = Pump(line, lambda _: YES, at_once=1)
    pump.run(3)
    assert line.dead == {"c-0": "its answer is not taken: the payload is too large"}
    assert (list(line.answered), line.open) == (["c-1", "c-2"], {})
    assert (pump.tally.answered, pump.tally.refused) == (2, 1)


def test_what_nobody_foresaw_ends_it_with_the_message_named():
    line = Line(3)
    line.away = [ValueError("odd")]
    with pytest.raises(CrashedError, match=r"message c-0 failed: ValueError\('odd'\)"):
        Pump(line, lambda _: YES, at_once=1).run()
    assert len(line.open) == 1  # not acknowledged: it comes again


def test_stopped_while_a_message_is_held_it_ends_and_the_message_comes_again(monkeypatch):
    monkeypatch.setattr("modelworks.control.eventing.pump._FIRST_S", 100.0)
    line = Line(1)
    began = threading.Event()

    def ask(event):
        began.set()
        raise UnavailableError("away")

    pump = Pump(line, ask)
    thread = threading.Thread(target=pump.run)
    thread.start()
    assert began.wait(10)
    pump.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert list(line.open) == ["c-0"]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("nats://h:4222/a.b", ("nats", {"url": "nats://h:4222", "subject": "a.b"})),
        ("tls://h:4222/a", ("nats", {"url": "tls://h:4222", "subject": "a"})),
        ("mqtt://h:1883/a/b", ("mqtt", {"url": "mqtt://h:1883", "subject": "a/b"})),
        ("mqtts://h/a/#", ("mqtt", {"url": "mqtts://h", "subject": "a/#"})),
        ("kafka://h:9092/t", ("kafka", {"brokers": "h:9092", "subject": "t"})),
        ("kafka://h:9092", ("kafka", {"brokers": "h:9092"})),
    ],
)
def test_a_url_says_broker_and_subject(url, wanted):
    assert broker_of(url) == wanted


@pytest.mark.parametrize("url", ["", "amqp://h/q", "nats:///x", "h:4222/x"])
def test_other_urls_are_refused(url):
    with pytest.raises(InvalidError, match="--from"):
        broker_of(url)


@pytest.mark.parametrize(("model", "form"), [("no model!", "infer"), ("m", "odd")])
def test_models_and_forms_that_cannot_be_are_refused(model, form):
    with pytest.raises(InvalidError):
        asker(None, model, form)


@pytest.mark.parametrize("name", ["content-type", "inference-header-content-length"])
@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a/\u20ac"])
def test_headers_that_http_does_not_take_are_the_messages_fault(name, value):
    ask = asker(Wire("http://127.0.0.1:9", "model server", ""), "m", "infer")
    with pytest.raises(InvalidError, match="printable ASCII") as refused:
        ask(Event("c", b"{}", {name: value}))
    assert refused.value.field == name
