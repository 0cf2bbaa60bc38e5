"""The worker's duty of sending records on: real receivers, one of them away, bounded, audited."""

import json
import threading

import pytest

from modelworks.control.forwarding.forward import Forwarder
from modelworks.control.forwarding.receivers import MOST, Receivers
from modelworks.control.forwarding.spools import Spools
from modelworks.control.service import Factory
from modelworks.control.watching import forwarding
from modelworks.control.watching.forwarding import Forwarding
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.lock import locked
from modelworks.core.records import Record
from modelworks.protocol.records import SegmentWriter
from sink_receivers import Webhook
from store_servers import free_port

pytestmark = pytest.mark.unit


def write(records, numbers):
    writer = SegmentWriter(records / "segments")
    for number in numbers:
        at = 10**18 + number
        writer.write([Record(id=f"r{number}", at_ns=at, model="m", version="1.0.0")])
    writer.close()


@pytest.fixture
def hook():
    hook = Webhook()
    hook.start()
    yield hook
    hook.stop()


@pytest.fixture
def records(tmp_path):
    return tmp_path / "records"


def taken(hook):
    return sorted(event["id"] for event in hook.events)


def test_one_that_is_away_stops_no_other_and_gets_all_when_it_is_back(records, hook):
    verbs = Receivers(records)
    away = Webhook()
    verbs.put(away.url, "away", {"timeout": "1"})
    verbs.put(hook.url, "there")
    write(records, range(5))
    duty = Forwarding(verbs)
    done = duty.run(0.0, {})
    assert len(hook.events) == 5
    assert "away: " in done.said
    assert "there" not in done.said
    states = {one.receiver.name: one for one in verbs.states()}
    assert (states["there"].waiting, states["there"].sent) == (0, 5)
    assert (states["away"].waiting, states["away"].sent) == (1, 0)
    away.start()
    try:
        assert duty.run(15.0, {}).said == ""
        assert len(away.events) == 5
        assert len(hook.events) == 5  # nothing again
    finally:
        away.stop()


def test_what_does_not_fit_into_a_run_waits(records, hook, monkeypatch):
    verbs = Receivers(records)
    receiver = verbs.put(hook.url)
    write(records, range(4))
    monkeypatch.setattr(forwarding, "BUDGET_S", 0.0)
    assert Forwarding(verbs).run(0.0, {}).said == ""
    assert hook.events == []
    assert verbs.send(receiver, 60.0) == 4


def test_a_run_ends_between_two_batches(records):
    write(records, range(10))

    class Slow:
        def __init__(self):
            self.taken = []

        def send(self, batch):
            self.taken += [one.id for one in batch]
            threading.Event().wait(0.05)

    sink = Slow()
    spool = Spools(records / "forward").of("slow")
    sender = Forwarder(spool, records / "segments", sink, batch=4)
    assert sender.run(0.03) == 4
    assert sender.run() == 6
    assert sink.taken == [f"r{n}" for n in range(10)]


def test_who_sends_already_is_not_disturbed(records, hook):
    verbs = Receivers(records)
    verbs.put(hook.url, "there")
    write(records, range(3))
    with locked(Spools(records / "forward").of("there").lock, wait_s=0.0):
        done = Forwarding(verbs).run(0.0, {})
    assert "held by another process" in done.said
    assert hook.events == []


@pytest.mark.parametrize(
    ("url", "settings", "field"),
    [
        ("ftp://there/x", {}, "to"),
        ("https://me:secret@there/x", {}, "to"),
        ("https://there/x", {"colour": "red"}, "set"),
    ],
)
def test_what_cannot_be_a_receiver(records, url, settings, field):
    with pytest.raises(InvalidError) as found:
        Receivers(records).put(url, "x", settings)
    assert found.value.field == field
    assert Receivers(records).every() == []


def test_there_are_so_many_and_no_more(records):
    verbs = Receivers(records)
    for number in range(MOST):
        verbs.put("https://there/x", f"r{number}")
    verbs.put("https://elsewhere/x", "r0")  # another one of that name
    with pytest.raises(InvalidError, match="already"):
        verbs.put("https://there/x", "one-more")


def test_a_file_that_cannot_be_read_says_which(records):
    verbs = Receivers(records)
    verbs.put("https://there/x", "x")
    (records / "forward" / "x" / "receiver.json").write_text("{")
    with pytest.raises(InvalidError, match=r"forward/x/receiver\.json"):
        Forwarding(verbs).run(0.0, {})


def test_it_is_kept_for_its_owner_alone_audited_and_removed_with_what_waits(tmp_path):
    with Factory(Home(tmp_path / "home"), actor="ana") as factory:
        verbs, port = factory.receivers, free_port()
        made = verbs.put(f"http://127.0.0.1:{port}/x", "bus", {"timeout": "1"})
        file = factory.home.records / "forward" / "bus" / "receiver.json"
        assert file.stat().st_mode & 0o077 == 0
        assert json.loads(file.read_text())["url"] == made.url
        write(factory.home.records, range(2))
        with pytest.raises(UnavailableError):
            verbs.send(made, 60.0)
        gone = verbs.remove("bus")
        assert gone.waiting == 1
        assert not file.parent.exists()
        with pytest.raises(NotFoundError):
            verbs.remove("bus")
        acts = [(one.act, one.actor) for one in factory.deploying.audited("receiver/bus")]
        assert acts == [("remove", "ana"), ("set", "ana")]
