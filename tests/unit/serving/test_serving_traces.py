"""Traced requests on their way to an exporter: noted, packed, never waited for."""

import json
import os
import subprocess
import sys
import time
from collections import deque
from itertools import pairwise

import numpy as np
import pytest

from modelworks.apps.exporter import Sender, read_items
from modelworks.core.errors import InvalidError
from modelworks.core.spans import Call, Traced
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.edge.head import Head
from modelworks.edge.request import Sampled
from modelworks.plugins.opening import SteppedSession
from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.batcher import Member
from modelworks.serving.execute import Ran, execute
from modelworks.serving.export import Export
from modelworks.serving.traces import Traces

pytestmark = pytest.mark.unit
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
MS = 1_000_000


class Asked(Member):
    __slots__ = ("exchange",)

    def succeed(self, outputs):
        pass

    def fail(self, error):
        pass


def request(parent=f"00-{TRACE}-{PARENT}-01", **more):
    headers = {b"traceparent": parent.encode()}
    headers |= {name.replace("_", "-").encode(): value.encode() for name, value in more.items()}
    head = Head(
        b"POST", b"/v2/models/m/infer", b"", headers, 0,
        keep_alive=True, modern=True, expects=False, coding="", sampled=True,
    )  # fmt: skip
    made = Sampled(None, head, b"12345")
    made.received_ns -= 100 * MS
    return made


def answered(traces, made, *, called=True):
    """As the server does it: answered first, then the call is noted."""
    traces.note(made, 200, "m", "1.0.0")
    if called:
        begun = made.received_ns
        member = Asked({}, 2, None, begun)
        member.queued_ns, member.exchange = begun + MS, made
        call = Ran([member], [], None, 2, begun + 2 * MS, begun + 3 * MS, begun + 4 * MS)

        class Session:
            laps = (("before", begun, begun + MS), ("tokens", begun + 3 * MS, begun + 4 * MS))

        traces.follow(Session(), call)


def test_a_request_is_told_with_its_call():
    traces = Traces("https")
    answered(traces, request(tracestate="a=1", x_request_id="r-1"))
    [told] = traces.take(10, last=True)
    assert (told.trace, told.parent, told.state) == (TRACE, PARENT, "a=1")
    assert (told.method, told.path, told.status) == ("POST", "/v2/models/m/infer", 200)
    assert (told.model, told.version, told.request_id, told.size) == ("m", "1.0.0", "r-1", 5)
    assert told.scheme == "https"
    call = told.call
    edges = [told.begin, call.queued, call.started, call.joined, call.inferred]
    assert [after - before for before, after in pairwise(edges)] == [MS] * 4
    assert told.end - told.begin >= 100 * MS
    assert abs(told.end - time.time_ns()) < 60_000 * MS
    assert call.laps == (("tokens", call.joined, call.inferred),)


def test_what_was_just_answered_waits_for_its_call():
    traces = Traces()
    answered(traces, request(), called=False)
    assert traces.take(10) == []
    [told] = traces.take(10, last=True)
    assert told.call is None


def test_a_broken_context_is_left_out_and_no_room_is_counted():
    traces = Traces(bound=2)
    answered(traces, request(f"00-{'0' * 32}-{PARENT}-01"))
    answered(traces, request())
    answered(traces, request())
    assert traces.dropped == 1
    assert [one.trace for one in traces.take(10, last=True)] == [TRACE]


# -- the process beside it


WRITER = "import sys; open({path!r}, 'ab').write(sys.stdin.buffer.read())"


def counted():
    family = Family("a_loads", Kind.COUNTER, "Loads.")
    family.add(3, {"model": "m"})
    return [family]


def test_lines_reach_the_process_and_the_last_ones_too(tmp_path):
    path = tmp_path / "told"
    traces = Traces()
    command = [sys.executable, "-c", WRITER.format(path=str(path))]
    export = Export(command, traces, counted, 5.0, 3600.0)
    for _ in range(300):
        answered(traces, request())
    export._turn(last=True)
    answered(traces, request())
    export.close()
    export._turn(last=True)  # after its end: nothing is raised, nobody is told
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sum("traced" in line for line in lines) == 300
    [measured] = [line["measured"] for line in lines if "measured" in line]
    assert measured["started"] == 5_000_000_000
    assert measured["families"][0] == [
        *("a_loads", "counter", "Loads."),
        [[["_total", {"model": "m"}, 3]]],
    ]


def test_a_process_that_does_not_read_costs_nothing_but_what_it_is_told():
    traces = Traces(bound=500)
    export = Export([sys.executable, "-c", "import time; time.sleep(60)"], traces, None, 0.0, 1.0)
    try:
        for _ in range(10):
            for _ in range(200):
                answered(traces, request())
            export._turn(last=False)
            for noted in traces._entries:  # all are settled
                noted.end -= 100 * MS
        assert traces.dropped > 0
        assert len(traces._entries) <= 500
    finally:
        export._process.kill()
        export.close()


def test_a_process_that_is_not_there_is_told_once(caplog):
    traces = Traces()
    export = Export(["/nowhere/exporter"], traces, None, 0.0, 1.0)
    for _ in range(3):
        answered(traces, request())
        export._turn(last=True)
    export.close()
    assert export.lost == 3
    told = [r.message for r in caplog.records if "cannot be started" in r.message]
    assert len(told) == 1
    assert "No such file or directory; requests are answered all the same" in told[0]


def test_a_process_that_ends_is_started_again_later():
    export = Export([sys.executable, "-c", ""], Traces(), None, 0.0, 1.0)
    export._turn(last=True)
    first = export._process
    first.wait(30)
    export._turn(last=True)
    assert export._process is None
    export._due = 0.0
    export._turn(last=True)
    assert export._process.pid != first.pid
    export.close()


# -- the sender


class Taking:
    extra = ""
    experimental = False

    def __init__(self, takes):
        self.takes, self.seen, self.measured = takes, [], []

    def spans(self, traced):
        self.seen += traced
        return self.takes

    def metrics(self, measured):
        self.measured.append(measured)
        return self.takes


def line(number=0):
    traced = {
        "trace": TRACE, "parent": PARENT, "state": "", "method": "GET", "path": "/", "status": 200,
        "begin": number, "end": 2, "size": 0, "call": {"rows": 1, "queued": 1, "started": 1,
        "joined": 1, "inferred": 1, "laps": [["a", 1, 2]]},
    }  # fmt: skip
    return json.dumps({"traced": traced}).encode() + b"\n"


def test_the_sender_sends_all_and_the_newest_metrics_only():
    exporter = Taking(takes=True)
    sender = Sender(exporter)
    measured = [json.dumps({"measured": {"at": n, "started": 0, "families": []}}) for n in (1, 2)]
    lines = [line(1), *(f"{one}\n".encode() for one in measured), b"{broken\n", b"{}\n", line(2)]
    read_items(lines, sender)
    sender.stop()
    sender.run()
    assert [one.begin for one in exporter.seen] == [1, 2]
    assert exporter.seen[0].call == Call(1, 1, 1, 1, 1, (("a", 1, 2),))
    assert [one.at for one in exporter.measured] == [2]
    assert sender.dropped == 2


def test_what_nobody_takes_is_counted_and_told_once(caplog):
    sender = Sender(Taking(takes=False))
    for number in range(600):
        sender.put(Traced(TRACE, PARENT, "", "GET", "/", 200, number, 2, 0))
    sender.stop()
    sender.run()
    assert sender.dropped == 600
    assert len([r for r in caplog.records if "not taken by the collector" in r.message]) == 1


def test_a_wrong_endpoint_ends_the_process_with_a_reason():
    done = subprocess.run(
        [sys.executable, "-m", "modelworks.apps.exporter", "--endpoint", "127.0.0.1:4318"],
        input=b"", capture_output=True, env=dict(os.environ), check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"is no endpoint of OTLP over HTTP" in done.stderr


# -- steps


def test_steps_note_their_laps_only_where_somebody_asks():
    class Step:
        outputs = ("tokens", "mask")

        def run(self, inputs):
            time.sleep(0.002)
            return {"tokens": inputs["text"], "mask": 1}

    class Model:
        signature = Signature((spec("tokens"), spec("mask")), ())
        apart = False

        def infer(self, inputs):
            time.sleep(0.002)
            return [inputs["tokens"]]

        def close(self):
            pass

    session = SteppedSession(Signature((spec("text"),), ()), Model(), None, [Step()])
    assert session.infer({"text": "a"}) == ["a"]
    assert session.laps is None
    session.laps = deque()
    session.infer({"text": "a"})
    [(step, begun, between), (model, again, ended)] = session.laps
    assert (step, model) == ("tokens mask", "model")
    assert between == again
    assert between - begun >= 2 * MS
    assert ended - between >= 2 * MS


def test_members_of_a_failed_batch_have_the_laps_of_their_own_calls():
    class Step:
        outputs = ("tokens",)

        def run(self, inputs):
            return {"tokens": inputs["text"]}

    class Model:
        signature = Signature((spec("tokens"),), ())
        apart = False

        def infer(self, inputs):
            if -1 in inputs["tokens"]:
                raise InvalidError("no negative ones")
            return [inputs["tokens"]]

    session = SteppedSession(Signature((spec("text"),), ()), Model(), None, [Step()])
    session.laps = deque()
    traces = Traces()
    members = []
    for value in (1.0, -1.0, 2.0):
        member = Asked({"text": np.array([value])}, 1, None, 0)
        member.exchange = request()
        traces.note(member.exchange, 200, "m", "1.0.0")
        members.append(member)
    for call in execute(session, members):
        traces.follow(session, call)
    told = [one.call for one in traces.take(10, last=True)]
    names = [[name for name, _, _ in call.laps] for call in told]
    assert names == [["tokens", "model"], ["tokens"], ["tokens", "model"]]
    ends = [call.laps[-1][2] for call in told]
    assert ends == sorted(set(ends))


def spec(name):
    return TensorSpec(name, Datatype.FP32, (None,))
