"""What a search shows while it goes: a board on a terminal, lines elsewhere, nothing for JSON."""

import os
import sys

from rich.console import Console

from modelworks.cli.optimizing_board import Board, board
from modelworks.cli.output import Output
from modelworks.core.optimizing.variants import Ending, Finding, Goal
from modelworks.optimize.standing import Leader, Standing, front_of
from optimize_fakes import FakeBench, Table, facts, ground, measurement, recipe, searched

TWO = Standing((Leader("a > b @ litert", {1: 9.7, 16: 4.25}, 3.9),), 12, 30.0)


def drawn(shown: Board, width: int = 90) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_board_has_the_time_the_step_and_the_front(monkeypatch):
    now = 100.0
    monkeypatch.setattr("modelworks.cli.optimizing_board.time.monotonic", lambda: now)
    shown = Board(60.0)
    shown.step("measuring\x1b[2J the form that was imported")
    now = 115.0
    bar, step, best = drawn(shown)
    assert bar == f"[{'#' * 6}{' ' * 18}] 15 of 60 s, 0 forms tried"
    assert step == "measuring\N{REPLACEMENT CHARACTER}[2J the form that was imported"
    assert best == "the form that was imported is the best so far"
    shown.stands(TWO)
    now = 500.0
    text = "\n".join(drawn(shown))
    assert f"[{'#' * 24}] 400 of 60 s, 12 forms tried" in text
    row = next(line for line in text.splitlines() if "litert" in line)
    assert row.split() == ["a", ">", "b", "@", "litert", "9.70", "4.25", "3.90"]
    assert all(len(line) <= 40 for line in drawn(shown, 40))


def test_on_a_terminal_it_is_drawn_again_and_again(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        with board(Output(as_json=False), 60.0) as (say, watch):
            say("pass 1/3: a @ litert")
            watch(TWO)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "\x1b[1A" in shown  # it goes up to draw over what it drew
    assert "pass 1/3: a @ litert" in shown
    assert "9.70" in shown


def test_without_a_terminal_a_line_tells_the_front_when_it_is_another(capsys):
    with board(Output(as_json=False), 60.0) as (say, watch):
        say("pass 1/3: a @ litert")
        watch(Standing((), 0, 60.0))
        watch(TWO)
        watch(TWO)
        watch(Standing((), 12, 1.0))
    assert capsys.readouterr().err.splitlines() == [
        "... pass 1/3: a @ litert",
        "... front: a > b @ litert 9.70 x at 1, 4.25 x at 16",
        "... front: none",
    ]
    with board(Output(as_json=True), 60.0) as (say, watch):
        say("pass")
        watch(TWO)
    assert capsys.readouterr().err == ""


def test_the_front_has_what_is_worth_it_and_nothing_that_another_beats():
    kept = [
        Finding(recipe(name), Ending.KEPT, "", measured=measurement(ratio, size))
        for name, ratio, size in (("a", 2.0, 900), ("b", 3.0, 500), ("c", 1.01, 10), ("d", 1.5, 90))
    ]
    told = front_of(kept, Goal(), measurement(size=1000))
    assert [one.title.partition(" ")[0] for one in told] == ["b", "d"]
    assert told[0].times == {1: 3.0, 16: 3.0}
    assert told[0].size == 2.0
    assert front_of(kept, Goal(), None) == ()


def test_a_search_tells_its_front_after_every_candidate(tmp_path):
    told: list[Standing] = []
    forms = {"a": Table(2.0), "b": Table(0.5), "c": Table(3.0)}
    search = searched(
        FakeBench(forms), ground(*map(facts, forms)), tmp_path / "run", watch=told.append
    )
    search.run()
    titles = [tuple(one.title[0] for one in each.front) for each in told]
    assert titles[:3] == [("a",), ("a",), ("c",)]
    assert [each.tried for each in told[:3]] == [1, 2, 3]


def test_titles_that_look_like_marks_are_drawn_as_they_are():
    shown = Board(60.0)
    shown.step("[bold]x[/bold]")
    shown.stands(Standing((Leader("[red]a[/red]", {1: 2.0}, 1.0),), 1, 1.0))
    text = "\n".join(drawn(shown))
    assert "[bold]x[/bold]" in text
    assert "[red]a[/red]" in text
