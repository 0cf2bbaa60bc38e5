"""The client of a model that generates: pieces as they come, errors, leaving."""

import io
import json
import sys

import pytest

from generating_served import Server
from modelworks.cli.main import main
from modelworks.client.client import BaseClient
from modelworks.client.data import DataPlane
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.serving.generating.numbers import End
from modelworks.testing.generating import Words

pytestmark = pytest.mark.unit


@pytest.fixture
def served(monkeypatch):
    with Server(Words(), monkeypatch) as server:
        yield server
        server.settled()


@pytest.fixture
def plane(served):
    plane = DataPlane(f"http://127.0.0.1:{served.port}")
    yield plane
    plane.close()


def test_whole_and_in_pieces(plane):
    found = plane.generate("m", "one two", max_tokens=3)
    assert found["text_output"] == "one two one "
    events = list(plane.generate_stream("m:1.0.0", "one two", max_tokens=3))
    assert [event["text_output"] for event in events] == ["one ", "two ", "one "]
    assert events[-1]["finish_reason"] == "length"


def test_the_client_has_both(served):
    with BaseClient(lambda: None, f"http://127.0.0.1:{served.port}") as client:
        assert client.generate("m", "one", max_tokens=1)["text_output"] == "one "
        assert len(list(client.generate_stream("m", "one", max_tokens=2))) == 2


def test_a_piece_comes_before_the_next_is_made(served, plane):
    served.session.hold()
    events = plane.generate_stream("m", "one two", max_tokens=2)
    served.session.allow(1)
    assert next(events)["text_output"] == "one "
    served.session.allow(1)
    assert next(events)["text_output"] == "two "
    assert list(events) == []


def test_who_stops_reading_stops_the_work(served, plane):
    served.session.hold()
    events = plane.generate_stream("m", "one two", max_tokens=1000)
    served.session.allow(1)
    next(events)
    events.close()
    served.until(lambda: served.session.cancelled == 1)
    served.until(lambda: served.numbers().ends[End.LEFT] == 1)


def test_errors_are_those_that_they_were(served, plane):
    for call, kind in (
        (lambda: list(plane.generate_stream("m", "one", max_tokens=0)), InvalidError),
        (lambda: plane.generate("m", "one", nobody=1), InvalidError),
        (lambda: list(plane.generate_stream("nobody", "one")), NotFoundError),
        (lambda: list(plane.generate_stream("m", "one boom")), CrashedError),
    ):
        with pytest.raises(kind):
            call()
    live = served.call(lambda: served.table.resolve("m"))
    live.generations, generations = None, live.generations
    with pytest.raises(UnsupportedError):
        plane.generate("m", "one")
    live.generations = generations


def test_an_answer_that_breaks_off_is_no_answer(served, plane):
    served.session.hold()
    events = plane.generate_stream("m", "one two", max_tokens=1000)
    served.session.allow(1)
    next(events)
    served.call(lambda: [one.cut() for one in list(served.listener._hub.connections)])
    with pytest.raises(UnavailableError, match="broke"):
        list(events)


# -- the command


@pytest.fixture
def typed(served, capsys, monkeypatch, home):
    monkeypatch.setenv("MODELWORKS_HOME", str(home.root))

    def run(*words):
        code = main(["generate", "m", *words, "--url", f"http://127.0.0.1:{served.port}"])
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_pieces(typed, monkeypatch):
    words = ("--max-tokens", "3", "--stop", "nobody's", "--top-k", "0")
    assert typed("one two", *words) == (0, "one two one \n", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO("from stdin"))
    code, out, _ = typed("-", "--max-tokens", "1", "--json")
    assert code == 0
    assert json.loads(out)["text_output"] == "from "


def test_what_a_model_says_does_nothing_to_the_terminal(typed):
    code, out, _ = typed("a\x1b[31mred\nb", "--max-tokens", "2")
    assert code == 0
    assert "\x1b" not in out


def test_the_command_says_what_is_wrong(typed):
    code, out, err = typed("one", "--max-tokens", "0")
    assert (code != 0, out) == (True, "")
    assert "max_tokens" in err
