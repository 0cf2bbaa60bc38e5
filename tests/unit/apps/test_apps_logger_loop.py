"""The logger's loop over real sockets and segments: what is answered lies on the disk."""

import array
import errno
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest

from modelworks.apps.logger_loop import SEGMENTS, LoggerLoop
from modelworks.core.errors import UnavailableError
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.records import frames, read_segment, segments
from modelworks.protocol.records.calls import DONE, HEADERS, TALLY, pack_calls, pack_model
from modelworks.protocol.records.making import RecordMaker
from modelworks.protocol.records.segments import SegmentWriter
from modelworks.serving.outbox import told_of

pytestmark = pytest.mark.unit
SPECS = [TensorSpec(name, Datatype.FP32, (None, 1)) for name in "xy"]
SIGNATURE = Signature((SPECS[0],), (SPECS[1],))


def model(number=0, name="m", **policy):
    served = ServedModel(name, "1.0.0", "/m", "")
    text = orjson.dumps(told_of(served, SIGNATURE, RecordPolicy(1.0, **policy)))
    return pack_model(number, text)


def calls(names, number=0, body=None):
    """A message of a request each."""
    entry = {"shape": [1, 1], "datatype": "FP32", "data": [1]}
    asked = [
        body or orjson.dumps({"id": name, "inputs": [{"name": "x", **entry}]}) for name in names
    ]
    said = [orjson.dumps({"outputs": [{"name": "y", **entry}]})] * len(names)
    parts = asked + said
    count = len(names)
    table = [1, 2, 3, 4, 200, count]
    columns = ([1] * count, [1] * count, [0] * count, [0] * count)
    heads = b"\0".join([b""] * (len(HEADERS) + 1))
    return pack_calls(number, table, columns, [*map(len, parts)], parts, [heads])


class Logger:
    """A loop on a thread of its own, and its workers."""

    def __init__(self, folder, writer=None):
        self.folder = folder
        self.door, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.theirs = theirs
        self.writer = writer or SegmentWriter(folder / SEGMENTS)
        self.loop = LoggerLoop(theirs, folder, self.writer, b"k" * 32)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.socks = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.thread.ident is None:
            self.thread.start()
        self.end()
        self.theirs.close()

    def enter(self, *sent):
        """A worker's connection, and what it sends before the loop looks."""
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        rights = array.array("i", [theirs.fileno()])
        self.door.sendmsg([b"1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        theirs.close()
        self.socks.append(ours)
        if sent:
            ours.sendall(b"".join(sent))
        return ours

    def end(self):
        """Every worker goes; the loop then ends by itself."""
        for sock in self.socks:
            sock.close()
        self.door.close()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.writer.close()

    def records(self):
        found = sorted((self.folder / SEGMENTS).iterdir())
        return [one for path in found for one in read_segment(path)]


def answers(sock, done):
    """What became of the requests, when so many messages are answered."""
    heard, found = b"", []
    while sum(one[0] == DONE for one in found) < done:
        data = sock.recv(65536)
        assert data, "the logger hung up"
        heard += data
        whole = len(heard) - len(heard) % TALLY.size
        found += TALLY.iter_unpack(heard[:whole])
        heard = heard[whole:]
    assert sum(one[0] == DONE for one in found) == done
    sums = {}
    for number, *counts in found:
        if number != DONE:
            sums[number] = [a + b for a, b in zip(sums.get(number, [0] * 3), counts, strict=True)]
    return sums


def test_messages_that_came_together_lie_in_few_frames(tmp_path):
    with Logger(tmp_path) as logger:
        names = [[f"{n}-{m}" for m in range(45)] for n in range(100)]
        sock = logger.enter()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        logger.thread.start()
        threading.Thread(
            target=sock.sendall, args=(b"".join([model(), *map(calls, names)]),), daemon=True
        ).start()
        assert answers(sock, 101) == {0: [4500, 0, 0]}
        logger.end()
        assert [one.id for one in logger.records()] == [name for some in names for name in some]
        (segment,) = (tmp_path / SEGMENTS).iterdir()
        sizes = [
            len(list(frames.decode_payload(payload)))
            for _, payload in frames.whole_frames(segment.read_bytes())
        ]
        assert max(sizes) <= 2000 + 45
        assert len(sizes) < 60  # of a hundred messages


def test_a_message_in_pieces_is_read_when_it_is_whole(tmp_path):
    with Logger(tmp_path) as logger:
        logger.thread.start()
        sock = logger.enter()
        data = model() + calls(["a", "b"]) + calls(["c"])
        for start in range(0, len(data), 37):
            sock.sendall(data[start : start + 37])
            time.sleep(0.0005)
        assert answers(sock, 3) == {0: [3, 0, 0]}
        logger.end()
        assert [one.id for one in logger.records()] == ["a", "b", "c"]


def test_two_workers_have_models_and_answers_of_their_own(tmp_path):
    with Logger(tmp_path) as logger:
        first = logger.enter(model(0, "fraud"), calls(["a"]))
        second = logger.enter(model(0, "churn"), model(1, "fraud"), calls(["b", "c"], 1))
        logger.thread.start()
        assert answers(first, 2) == {0: [1, 0, 0]}
        assert answers(second, 3) == {1: [2, 0, 0]}
        second.sendall(calls(["d"], 0))
        assert answers(second, 1) == {0: [1, 0, 0]}
        logger.end()
        found = {one.id: one.model for one in logger.records()}
        assert found == {"a": "fraud", "b": "fraud", "c": "fraud", "d": "churn"}


def test_bodies_that_cannot_be_read_are_counted(tmp_path):
    with Logger(tmp_path) as logger:
        sock = logger.enter(model(), calls(["a", "b"], body=b"{"), calls(["c"]))
        logger.thread.start()
        assert answers(sock, 3) == {0: [3, 0, 2]}
        logger.end()
        assert [one.left_out for one in logger.records()] == [("inputs",), ("inputs",), ()]


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(calls(["x"], number=9), id="a model nobody told of"),
        pytest.param(pack_model(1, b"{"), id="no JSON"),
        pytest.param(calls(["x"])[:-1] + b"", id="cut"),
    ],
)
def test_a_worker_that_is_not_understood_goes_and_takes_nothing_with_it(tmp_path, nonsense):
    with Logger(tmp_path) as logger:
        bad = logger.enter(model(), calls(["kept"]))
        good = logger.enter(model(), calls(["other"]))
        logger.thread.start()
        answers(bad, 2)
        with suppress(OSError):
            bad.sendall(nonsense)
            bad.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert bad.recv(1) == b""
        good.sendall(calls(["later"]))
        assert answers(good, 3) == {0: [2, 0, 0]}
        logger.end()
        assert sorted(one.id for one in logger.records()) == ["kept", "later", "other"]


class FullDisk(SegmentWriter):
    """A writer whose disk is full for a while."""

    full = True

    def write(self, records):
        if self.full:
            raise UnavailableError("the disk is full")
        super().write(records)


def test_what_the_disk_does_not_take_is_lost_and_counted_and_then_it_goes_on(tmp_path, caplog):
    writer = FullDisk(tmp_path / SEGMENTS)
    with Logger(tmp_path, writer) as logger:
        sock = logger.enter(model(), calls(["a", "b"]))
        logger.thread.start()
        assert answers(sock, 2) == {0: [0, 2, 0]}
        writer.full = False
        sock.sendall(calls(["c"]))
        assert answers(sock, 1) == {0: [1, 0, 0]}
        logger.end()
        assert [one.id for one in logger.records()] == ["c"]
    assert caplog.text.count("the disk is full; 2 records are lost") == 1


def test_without_a_vault_what_wants_tokens_is_lost(tmp_path):
    (tmp_path / "vault.db").mkdir()  # it cannot be opened
    with Logger(tmp_path) as logger:
        tokens = model(fields=(FieldPolicy("x", Act.TOKENIZE),))
        sock = logger.enter(tokens, calls(["a", "b"]), model(1), calls(["c"], 1))
        logger.thread.start()
        assert answers(sock, 4) == {0: [0, 2, 0], 1: [1, 0, 0]}
        logger.end()
        assert [one.id for one in logger.records()] == ["c"]


def test_a_record_that_cannot_be_made_or_written_takes_few_with_it(tmp_path, monkeypatch, caplog):
    """None can, as far as is known; a logger that ended by one would be followed by others."""
    plain = RecordMaker.make

    def make(self, told, utc_ns):
        found = plain(self, told, utc_ns)
        if found.record.id == "unmade":
            raise ZeroDivisionError
        if found.record.id == "unwritten":
            return replace(found, record=replace(found.record, key={1: 2}))
        return found

    monkeypatch.setattr(RecordMaker, "make", make)
    with Logger(tmp_path) as logger:
        some = (calls(["a", "unmade", "b"]), calls(["c", "unwritten"]), calls(["d"]))
        sock = logger.enter(model(), *some)
        logger.thread.start()
        assert answers(sock, 4) == {0: [3, 3, 0]}
        logger.end()
        assert [one.id for one in logger.records()] == ["a", "b", "d"]
    assert "cannot be made (ZeroDivisionError)" in caplog.text


def test_what_a_worker_sent_before_it_was_killed_is_written(tmp_path):
    with Logger(tmp_path) as logger:
        logger.enter(model(), calls(["a"]), calls(["torn"])[:-3]).close()
        logger.thread.start()
        logger.end()
        assert [one.id for one in logger.records()] == ["a"]


def test_a_segment_that_cannot_be_closed_is_told_and_the_loop_goes_on(
    tmp_path, monkeypatch, caplog
):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Logger(tmp_path, SegmentWriter(tmp_path / SEGMENTS, segment_s=0.0)) as logger:
        monkeypatch.setattr(segments, "_seal", refuse)
        sock = logger.enter(model(), calls(["a"]))
        logger.thread.start()
        assert answers(sock, 2) == {0: [1, 0, 0]}
        monkeypatch.undo()
        sock.sendall(calls(["b"]))
        assert answers(sock, 1) == {0: [1, 0, 0]}
        logger.end()
        assert len(segments.recover(tmp_path / SEGMENTS)) == 1
        assert [one.id for one in logger.records()] == ["a", "b"]
    assert "cannot be closed: Input/output error" in caplog.text
