"""Search over log files in all the forms that our processes write."""

import json
import logging
import os
import re
import subprocess
import sys
import time

import pytest

from modelworks.cli.commands.logs import _since
from modelworks.control.observability.elastic import FIELDS
from modelworks.control.observability.logs import Follower, LogLine, Wanted, search
from modelworks.core.ecs import VERSION, EcsFormatter, LogFormat, log_format, stamp
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.edge.access_lines import Form, Lines
from modelworks.edge.journal import Entry

pytestmark = pytest.mark.unit
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {
    b"traceparent": f"00-{TRACE}-b7ad6b7169203331-01".encode(),
    b"user-agent": b"curl/8",
    b"x-request-id": b"r-1",
    b"referer": b"http://there/page?secret=1",
}


def entry(path=b"/v2/models/fraud/infer", status=200, headers=HEADERS, client="127.0.0.1"):
    now = time.perf_counter_ns()
    return Entry(client, b"POST", path, headers, True, now - 4000, now, status, 10, 20)


def record(message, level=logging.WARNING, error=None):
    return logging.LogRecord("modelworks.x", level, "f.py", 1, message, (), error)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path).create()
    server = [
        "2020-11-22 10:00:00,250 INFO 7 modelworks.serving drained in 0.1 s",
        "2020-11-22 10:00:01,000 ERROR 7 modelworks.serving fraud 1.0.0: it broke",
        "Traceback (most recent call last):",
        "ValueError: no",
    ]
    (home.logs / "server.log").write_text("\n".join(server) + "\n")
    control = EcsFormatter("modelworks-control").format(record("churn is slow"))
    lines = Lines(Form.ECS).write([entry(), entry(b"/v2/models/churn/infer", 500, {})])
    (home.logs / "control.log").write_text(
        "WARNING modelworks.control: of old, without a time\n" + control + "\n" + lines.decode()
    )
    return home


def found(home, **wanted):
    return search(home, Wanted(**wanted), 100)


def test_lines_of_every_form_are_read(home):
    lines = found(home)
    assert [line.level for line in lines] == [
        "warning",
        "info",
        "error",
        "warning",
        "info",
        "error",
    ]
    assert lines[2].message.endswith("ValueError: no")
    assert lines[2].at - lines[1].at == 0.75
    assert lines[3].logger == "modelworks.x"
    assert lines[4].model == "fraud"
    assert lines[4].message == "POST /v2/models/fraud/infer 200"


@pytest.mark.parametrize(
    ("wanted", "messages"),
    [
        ({"model": "fraud"}, ["fraud 1.0.0: it broke\nTrace", "POST /v2/models/fraud"]),
        ({"model": "frau"}, []),
        ({"level": "error"}, ["fraud 1.0.0", "POST /v2/models/churn"]),
        ({"trace": TRACE[:6]}, ["POST /v2/models/fraud"]),
        ({"grep": re.compile("drain|slow")}, ["drained", "churn is slow"]),
        ({"level": "critical"}, []),
    ],
)
def test_only_what_is_asked_for_is_found(home, wanted, messages):
    lines = [line.message for line in found(home, **wanted)]
    assert len(lines) == len(messages)
    assert all(line.startswith(begin) for line, begin in zip(lines, messages, strict=True))


def test_what_is_older_is_left_out_and_the_newest_are_kept(home):
    lines = found(home, since=time.time() - 60)
    assert all(not line.at or line.at > time.time() - 60 for line in lines)
    assert len(search(home, Wanted(), 2)) == 2
    assert search(home, Wanted(), 2)[-1].message == "POST /v2/models/churn/infer 500"


def test_a_follower_tells_what_is_added_once_and_whole(home):
    follower = Follower(home, Wanted(level="warning"))
    assert follower.look() == []
    path = home.logs / "server.log"
    with path.open("a") as file:
        file.write("2020-11-22 10:00:02,000 WARNING 7 modelworks.x half of")
    assert follower.look() == []
    with path.open("a") as file:
        file.write(" it\n2020-11-22 10:00:03,000 INFO 7 modelworks.x no\n")
    assert [line.message for line in follower.look()] == ["half of it"]
    assert follower.look() == []
    path.unlink()
    path.write_text("2020-11-22 10:00:04,000 ERROR 7 modelworks.x anew\n")
    assert [line.message for line in follower.look()] == ["anew"]


def test_binary_rubbish_is_one_line(home):
    (home.logs / "odd.log").write_bytes(b"\xff\xfe{ no json\n{]\n")
    [line] = [line for line in found(home) if line.source == "odd"]
    assert isinstance(line, LogLine)
    assert line.level == "info"


# -- ECS


def field_types(document):
    """Every field, held against the type that the index template gives it."""
    for name, value in document.items():
        kind = FIELDS[name]["type"]
        values = value if isinstance(value, list) else [value]
        for one in values:
            if kind == "long":
                assert isinstance(one, int)
            else:
                assert isinstance(one, str)
            if kind == "date":
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one)
            if kind == "ip":
                assert re.fullmatch(r"[0-9.]+", one)


def test_a_record_is_a_document_of_known_fields():
    error = (ValueError, ValueError("no"), None)
    line = EcsFormatter("modelworks-server").format(record("a\nb", error=error))
    assert "\n" not in line
    told = json.loads(line)
    field_types(told)
    assert list(told)[:3] == ["@timestamp", "log.level", "message"]  # as the ECS loggers write it
    assert told["ecs.version"] == VERSION
    assert (told["log.level"], told["service.name"]) == ("warning", "modelworks-server")
    assert (told["error.type"], told["error.message"]) == ("ValueError", "no")


def test_the_access_log_in_ecs_has_known_fields_and_no_query():
    entries = [entry(), entry(status=404, client="unix"), entry(status=503, headers={})]
    lines = Lines(Form.ECS, lambda _: "team").write(entries).decode().splitlines()
    good, bad, failed = (json.loads(line) for line in lines)
    for told in (good, bad, failed):
        field_types(told)
    assert good["trace.id"] == TRACE
    assert good["http.request.referrer"] == "http://there/page"
    assert (good["event.outcome"], bad["event.outcome"]) == ("success", "failure")
    assert (good["event.duration"], good["user.name"]) == (4000, "team")
    assert "client.ip" not in bad
    assert (failed["log.level"], failed["event.type"]) == ("error", ["access", "error"])
    missing = json.loads(Lines(Form.ECS).missing(3))
    field_types(missing)
    assert missing["labels.dropped"] == "3"


@pytest.mark.parametrize(("told", "form"), [("", "text"), ("json", "ecs"), ("ecs", "ecs")])
def test_the_environment_chooses_the_form(told, form):
    assert log_format({"MODELWORKS_LOG_FORMAT": told}) is LogFormat(form)


def test_an_unknown_form_is_refused():
    with pytest.raises(InvalidError, match="none of text, ecs"):
        log_format({"MODELWORKS_LOG_FORMAT": "xml"})


def test_a_process_with_an_unknown_form_says_so_and_writes_text():
    script = (
        "from modelworks.core.ecs import set_up_logs; import logging, os; "
        "set_up_logs('modelworks-x', os.environ, '%(levelname)s %(message)s'); "
        "logging.warning('done')"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"MODELWORKS_LOG_FORMAT": form},
            capture_output=True,
            text=True,
            check=True,
        ).stderr.splitlines()
        for form in ("xml", "ecs")
    ]
    assert told[0][0].startswith("WARNING MODELWORKS_LOG_FORMAT: 'xml'")
    assert told[0][1:] == ["WARNING done"]
    [line] = told[1]
    assert json.loads(line)["message"] == "done"


def test_times_are_utc():
    assert stamp(0.25) == "1970-01-01T00:00:00.250Z"


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200)])
def test_an_age_is_counted_back_from_now(text, seconds):
    assert _since(text) == pytest.approx(time.time() - seconds, abs=5)


@pytest.mark.parametrize("text", ["soon", "5", "-5m", "2026-13-01"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(InvalidError, match="an age such as"):
        _since(text)
