"""The access log: lines, rotation, a full disk, a reader that is too slow; and no cost when off."""

import errno
import json
import os
import re
import time

import pytest

from edge_served import SMALL, Served
from exchanges.kinds import GET, H, sized
from modelworks.core.errors import InvalidError
from modelworks.edge import access_log
from modelworks.edge.access_lines import Form, Lines, model_of
from modelworks.edge.access_log import AccessLog
from modelworks.edge.connection import Connection
from modelworks.edge.journal import Entry, Journal

pytestmark = pytest.mark.unit
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def logged(journal):
    with Served(SMALL, journal=journal) as served:
        yield served


def taken(journal, served, count):
    served.until(lambda: len(journal.entries) >= count)
    return journal.take(100)


def entry(path=b"/v2/models/m/infer", headers=None, method=b"POST", status=200, client="::1"):
    now = time.perf_counter_ns()
    return Entry(client, method, path, headers or {}, True, now - 5_000_000, now, status, 3, 7)


# -- what is noted


def test_every_answer_is_noted(journal, logged):
    logged.talk(sized(b"abc", b"X: y") + GET + b"\r\n" + b"nonsense\r\n\r\n")
    first, second, third = taken(journal, logged, 3)
    assert (first.client, first.method, first.path) == ("127.0.0.1", b"POST", b"/ok")
    assert (first.status, first.taken, first.given) == (200, 3, len(b"POST /ok? abc"))
    assert first.answered_ns >= first.received_ns
    assert first.headers[b"x"] == b"y"
    assert second.method == b"GET"
    assert (third.status, third.method) == (400, b"")


def test_who_left_before_the_answer_is_noted(journal, logged):
    sock = logged.connect()
    sock.sendall(b"GET /hold HTTP/1.1\r\n" + H + b"\r\n")
    logged.until(lambda: logged.held)
    logged.call(next(iter(logged.listener._hub.connections)).cut)
    assert [found.status for found in taken(journal, logged, 1)] == [499]
    sock.close()


def test_a_full_journal_drops_and_counts(logged, journal):
    journal.bound = 5
    logged.talk((GET + b"\r\n") * 8)
    logged.until(lambda: journal.dropped == 3)
    assert len(journal.entries) == 5


def test_without_a_journal_connections_are_plain(served):
    with served.connect() as sock:
        sock.sendall(GET + b"\r\n")
        sock.recv(1000)
        assert {type(one) for one in served.listener._hub.connections} == {Connection}


# -- lines


def test_json():
    headers = {
        b"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode(),
        b"x-request-id": b"n-1",
        b"authorization": b"secret",
    }
    line = json.loads(Lines(Form.JSON).write([entry(headers=headers)]))
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "client": "::1",
        "method": "POST",
        "path": "/v2/models/m/infer",
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 7,
        "duration_us": 5000,
        "model": "m",
        "trace_id": TRACE,
        "parent_id": "00f067aa0ba902b7",
        "request_id": "n-1",
    }


def test_combined():
    headers = {b"user-agent": b'evil" 200 "\n', b"referer": b"http://a/b?token=secret"}
    line = Lines(Form.COMBINED).write([entry(headers=headers)]).decode()
    stamp = r"\[\d\d/\w{3}/20\d\d:\d\d:\d\d:\d\d \+0000\]"
    agent = re.escape(r"evil\x22 200 \x22\x0a")
    assert re.fullmatch(
        rf'::1 - - {stamp} "POST /v2/models/m/infer HTTP/1.1" 200 7 "http://a/b" "{agent}"\n', line
    )


@pytest.mark.parametrize("form", Form)
def test_nothing_in_a_request_begins_a_line(form):
    evil = bytes(range(256))
    found = entry(b"/" + evil, {b"user-agent": evil, b"referer": evil, b"x-request-id": evil})
    assert Lines(form).write([found]).count(b"\n") == 1
    assert Lines(form).write([found, entry(method=b"", path=b"")]).count(b"\n") == 2


def test_a_query_is_not_written(logged, journal):
    logged.talk(b"GET /ok?token=secret HTTP/1.1\r\n" + H + b"\r\n")
    [found] = taken(journal, logged, 1)
    for form in Form:
        assert b"secret" not in Lines(form).write([found])


@pytest.mark.parametrize(
    ("path", "model"),
    [
        (b"/v2/models/m/infer", "m"),
        (b"/v2/models/m/versions/1.0.0/infer", "m"),
        (b"/v2/models/m%40champion", "m@champion"),
        (b"/predict/m", "m"),
        (b"/v2/models/stats", ""),
        (b"/v2/models", ""),
        (b"/v2", ""),
        (b"/", ""),
        (b"*", ""),
        (b"", ""),
    ],
)
def test_models(path, model):
    assert model_of(path) == model


# -- the file


@pytest.fixture
def write(tmp_path, journal):
    """Start a log; `path` is its file."""
    logs = []

    def start(target=None, form=Form.JSON):
        log = AccessLog(str(target or tmp_path / "log"), form, journal)
        logs.append(log)
        log.start()
        return log

    yield start
    for log in logs:
        log.close()


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def test_lines_come_to_the_file(write, journal, tmp_path):
    write()
    journal.entries.extend([tuple(entry())] * 1000)
    until(lambda: count(tmp_path / "log") == 1000)
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_the_last_lines_are_written_at_the_end(journal, tmp_path):
    log = AccessLog(str(tmp_path / "log"), Form.JSON, journal)
    log.start()
    journal.entries.extend([tuple(entry())] * 10)
    log.close()
    assert count(tmp_path / "log") == 10


def test_a_log_that_was_never_started_is_closed(journal, tmp_path):
    AccessLog(str(tmp_path / "log"), Form.JSON, journal).close()


@pytest.mark.parametrize("asked", [True, False])
def test_a_rotated_file_is_opened_anew(write, journal, tmp_path, monkeypatch, asked):
    if not asked:
        monkeypatch.setattr(access_log, "_LOOK_S", 0.05)
    log = write()
    journal.entries.append(tuple(entry()))
    until(lambda: count(tmp_path / "log") == 1)
    (tmp_path / "log").rename(tmp_path / "log.1")
    if asked:
        log.reopen()
    until((tmp_path / "log").exists)
    journal.entries.append(tuple(entry()))
    until(lambda: count(tmp_path / "log") == 1)
    assert count(tmp_path / "log.1") == 1


def test_a_full_disk_is_survived_and_told_of(write, journal, tmp_path, monkeypatch, caplog):
    plain, full = os.write, [True]

    def some(handle, data):
        if full[0] and len(data) > 100:
            if len(data) < 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return plain(handle, data[: len(data) - 500])
        return plain(handle, data)

    log = write()
    monkeypatch.setattr(access_log.os, "write", some)
    journal.entries.extend([tuple(entry())] * 20)
    until(lambda: not journal.entries and log._lost)
    full[0] = False
    journal.entries.append(tuple(entry()))
    until(lambda: b"dropped" in (tmp_path / "log").read_bytes())
    monkeypatch.undo()
    written = (tmp_path / "log").read_bytes().splitlines()
    whole = [json.loads(line) for line in written if _whole(line)]
    assert len(written) - len(whole) <= 1  # the one that was cut
    dropped = sum(line.get("dropped", 0) for line in whole)
    assert dropped > 0
    assert dropped + sum("status" in line for line in whole) == 21
    assert "No space left" in caplog.text
    assert "answered all the same" in caplog.text


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_dev_full_is_survived(write, journal, caplog):
    write("/dev/full")
    journal.entries.extend([tuple(entry())] * 5)
    until(lambda: not journal.entries)
    until(lambda: "No space left" in caplog.text)


def test_drops_of_the_journal_are_written_down(write, journal, tmp_path):
    write()
    journal.dropped = 7
    until(lambda: count(tmp_path / "log") == 1)
    assert json.loads((tmp_path / "log").read_bytes())["dropped"] == 7


@pytest.mark.parametrize("form", Form)
def test_a_line_about_drops_has_the_form(form):
    assert Lines(form).missing(3).count(b"\n") == 1


def test_a_file_that_cannot_be_opened(tmp_path, journal):
    with pytest.raises(InvalidError, match="cannot be opened") as caught:
        AccessLog(str(tmp_path / "none" / "log"), Form.JSON, journal)
    assert caught.value.field == "access_log"
