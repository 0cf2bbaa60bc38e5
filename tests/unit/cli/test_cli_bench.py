"""`bench` from its command line: what is refused, what is printed, how it ends."""

import json
import sys
from types import SimpleNamespace

import pytest

from modelworks.cli.bar import Bar
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from plain_server import PlainServer, answer

pytestmark = pytest.mark.unit
QUICK = ("--requests", "40", "-s", "20", "--warm", "0")
METADATA = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}


def model(taken) -> bytes:
    """A server of one model that answers with the first number it was sent."""
    if taken.path == "/v2/models/fraud@champion":
        return answer(json.dumps(METADATA).encode())
    if taken.path == "/v2/models/fraud@champion/infer":
        sent = json.loads(taken.body)["inputs"][0]["data"]
        return answer(json.dumps({"outputs": [{"name": "y", "data": sent[:1]}]}).encode())
    if taken.path in {"/predict", "/v2/models/fraud@champion/stats"}:
        return answer(b"{}")
    return answer(b'{"error": "no such path"}', "404 Not Found")


@pytest.fixture
def server():
    with PlainServer(model) as running:
        yield running


def test_a_table_a_page_and_a_knee(type_, server, tmp_path):
    path = tmp_path / "page.html"
    ended = type_(
        "bench", "fraud@champion", "--url", server.url, *QUICK, "-c", "1,2,4", "--html", str(path)
    )
    assert ended.code == Exit.OK, ended.err
    assert "p99.9 ms" in ended.out.lower()
    assert "knee: " in ended.out
    assert "64 different requests of 1 row" in ended.err
    assert "... 3/3 4 conn." in ended.err
    assert "calibration: " in ended.err
    assert "<svg" in path.read_text()


def test_json_is_one_document_and_checked_answers_are_right(type_, server):
    ended = type_(
        *("bench", "fraud@champion", "--url", server.url, *QUICK, "-c", "2", "--check", "--json")
    )
    assert ended.code == Exit.OK, ended.out
    assert ended.err == ""
    told = ended.json
    assert told["wrong_answers"] == 0
    assert told["sweeps"][0]["points"][0]["latency"]["count"] == 40
    assert told["machine"]["calibration"]["spins"] >= 10


def test_wrong_answers_are_found(type_):
    def wrong(taken) -> bytes:
        return answer(b'{"y": %d}' % (taken.number // 3))

    with PlainServer(wrong) as server:
        ended = type_(
            *("bench", f"{server.url}/predict", "--body", __file__, "--requests", "400"),
            *("-s", "20", "--warm", "0", "-c", "1", "--check"),
        )
    assert ended.code == Exit.INVALID
    assert "sampled answers differ from the first ones" in ended.out


def test_an_open_loop_with_a_deadline(type_, server, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"rows": [[1, 2], [3, 4]]}')
    ended = type_(
        *("bench", f"{server.url}/predict", "--body", str(body), "-r", "50,100", "-s", "0.5"),
        *("--warm", "0", "--arrivals", "poisson", "--deadline", "500", "--json"),
    )
    assert ended.code == Exit.OK, ended.out
    first, second = ended.json["sweeps"][0]["points"]
    assert (first["rate"], second["rate"], first["loop"]) == (50, 100, "open")
    assert ended.json["rows_a_request"] == 2
    assert first["predictions_s"] == 2 * first["requests_s"]


def test_automatic_rates_follow_a_closed_loop(type_, server):
    ended = type_(
        *("bench", f"{server.url}/predict", "--body", __file__, "-r", "auto", "-c", "2"),
        *("-s", "0.1", "--warm", "0", "--requests", "5", "--json"),
    )
    assert ended.code == Exit.OK, ended.out
    closed, opened = ended.json["sweeps"]
    assert closed["axis"] == "connections"
    assert len(opened["points"]) == 8
    assert opened["points"][-1]["rate"] > closed["saturation_requests_s"]


def test_a_comparison_of_one_server_with_itself_gives_no_verdict(type_, server, tmp_path):
    other = f"{server.url}/v2/models/fraud@champion"
    ended = type_(
        *("bench", "fraud@champion", "--url", server.url, *QUICK, "-c", "2", "--rounds", "5"),
        *("--against", other, "--bar", "1", "--html", str(tmp_path / "a.html"), "--json"),
    )
    assert ended.code == Exit.UNAVAILABLE, ended.out
    assert ended.json["verdict"] == "uncertain"
    assert ended.json["again"]["throughput"]["rounds"] == 5


def test_a_bar_that_is_missed_is_a_gate_that_is_not_passed(type_, server):
    other = f"{server.url}/v2/models/fraud@champion"
    ended = type_(
        *("bench", "fraud@champion", "--url", server.url, *QUICK, "-c", "2", "--rounds", "5"),
        *("--against", other, "--bar", "50", "--json"),
    )
    assert ended.code == Exit.GATE, ended.out
    assert ended.json["verdict"] == "missed"


def test_ctrl_c_ends_with_what_was_measured(type_, server, monkeypatch):
    def show(_bar, seconds, answers, _failures):
        if seconds > 0.2 and answers:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "show", show)
    ended = type_(
        *("bench", "fraud@champion", "--url", server.url, "-s", "30", "--warm", "0", "-c", "1,2")
    )
    assert ended.code == Exit.INTERRUPTED
    assert "interrupted at 1 connections: what was measured until then" in ended.out


def test_nothing_but_failures(type_):
    with PlainServer(lambda taken: answer() if taken.number < 1 else None) as server:
        ended = type_(
            *("bench", f"{server.url}/", "--body", __file__, "--requests", "4", "-s", "20"),
            *("--warm", "0", "-c", "1", "--json"),
        )
    assert ended.code == Exit.UNAVAILABLE
    assert ended.json["sweeps"][0]["points"][0]["failures"] == {"closed": 4}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fraud", "--rows", "[]", "--body", "x"), Exit.USAGE, "one of them"),
        (("fraud", "--bar", "1"), Exit.USAGE, "--bar goes with --against"),
        (("fraud", "--against", "x", "-c", "1,2"), Exit.USAGE, "one number of connections"),
        (("fraud", "--against", "x", "-r", "auto"), Exit.USAGE, "give the rate"),
        (("fraud", "--binary", "--rows", "[[1]]"), Exit.USAGE, "made-up rows"),
        (("fraud", "-c", "1,x"), Exit.USAGE, "numbers with commas"),
        (("fraud", "-r", "0"), Exit.USAGE, "numbers above 0"),
        (("fraud", "--generator", "wrk", "--processes", "2"), Exit.USAGE, "own generator's"),
        (("ftp://x/",), Exit.INVALID, "no URL of a server"),
        (("fraud", "-H", "no colon"), Exit.INVALID, "NAME: VALUE"),
        (("fraud", "--body", "/none/such"), Exit.NOT_FOUND, "no file"),
        (("fraud", "--html", "/none/such.html"), Exit.INVALID, "cannot be written"),
        (("fraud", "--url", "http://127.0.0.1:1"), Exit.UNAVAILABLE, "no connection to"),
        (("a b",), Exit.INVALID, "a b"),
    ],
)
def test_what_is_refused(type_, arguments, code, words):
    ended = type_("bench", *arguments)
    assert ended.code == code, ended
    assert words in ended.err


def test_no_such_model_and_no_such_pid(type_, server):
    ended = type_("bench", "other", "--url", server.url)
    assert (ended.code, "no such path" in ended.err) == (Exit.NOT_FOUND, True)
    ended = type_("bench", "fraud@champion", "--url", server.url, "--pid", "4999999", *QUICK)
    assert (ended.code, "no process 4999999" in ended.err) == (Exit.NOT_FOUND, True)


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("modelworks.cli.bar.time", clock)
    now = 100.0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bar(Output(as_json=False), 2) as bar:
        bar.begin("8 conn.", 4.0)
        now += 0.3
        bar.show(2.0, 12_345, 7)
        bar.show(2.1, 99_999, 7)  # at once: not drawn
    shown = capsys.readouterr().err
    assert (
        f"1/2 8 conn.            [{'#' * 12}{' ' * 12}]  2.0 s, 12,345 answers, 7 failed" in shown
    )
    assert "99,999" not in shown
    assert shown.endswith("\r\x1b[K")
    with Bar(Output(as_json=True), 1) as bar:
        bar.begin("8 conn.", 4.0)
        bar.show(2.0, 1, 0)
    assert capsys.readouterr().err == ""
