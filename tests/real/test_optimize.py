"""`modelworks optimize` by real processes: found, served, killed in the middle, gone on, shared."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from desk import Desk, Done, predict, until
from digits_desk import digits_desk

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

PASSES = ("--passes", "litert,litert_int8_dynamic")
ROWS = ("--eval", "test.csv", "--label", "digit")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A network that reads digits, registered; rows that it was not trained on."""
    return digits_desk(tmp_path_factory.mktemp("optimize"), epochs=50, rows=32)


def optimize(desk: Desk, *words: str, code: int = 0) -> Done:
    return desk.mw("optimize", "net", *ROWS, *PASSES, *words, code=code)


def journal(desk: Desk) -> list[dict]:
    """The lines of the newest run's file that are whole."""
    files = list((desk.folder / "home" / "optimize" / "runs").glob("*.jsonl"))
    if not files:
        return []
    data = max(files, key=lambda one: one.stat().st_mtime_ns).read_text()
    return [json.loads(line) for line in data[: data.rfind("\n") + 1].splitlines()]


def tried(lines: list[dict]) -> list[str]:
    """Titles of candidates, in the order in which they ended first."""
    told = [line["finding"]["recipe"] for line in lines if "finding" in line]
    return list(dict.fromkeys(json.dumps(one) for one in told))


def _progress(told: str) -> str:
    """How the progress line of a candidate ends its title."""
    steps = " > ".join(step["name"] for step in json.loads(told)["steps"])
    return f": {steps} @ litert ("


def begun(desk: Desk, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "modelworks.cli.main", "optimize", "net", *ROWS, *PASSES, *words],
        cwd=desk.folder,
        env=desk.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_in_the_middle_it_goes_on_and_what_it_finds_is_served(desk: Desk):
    process = begun(desk, "--budget", "60s")
    with process:
        until("two candidates are finished", lambda: len(tried(journal(desk))) >= 2, 90)
        refused = optimize(desk, "--json", code=5)
        process.send_signal(signal.SIGKILL)
    before = tried(journal(desk))
    assert "is being optimized by another process" in refused.json["error"]
    assert not desk.mw("variants", "net", "--json").json

    done = optimize(desk, "--budget", "60s")
    assert f"{len(before)} candidates are finished from an earlier run" in done.err
    assert not any(title in done.err for title in map(_progress, before[:1]))
    report = desk.mw("optimize", "report", "net", "--json").json
    kept = [one for one in report["findings"] if one["ending"] == "kept"]
    assert kept, done.err
    name = kept[0]["variant"]
    told = desk.mw("optimize", "explain", f"net#{name}").out
    assert "accuracy passed" in told
    assert report["conclusion"] in done.out

    again = optimize(desk, "--budget", "90s")
    assert "nothing is tried again" in again.err
    _served_alike(desk, name)
    _shared(desk, name)


def _served_alike(desk: Desk, name: str) -> None:
    """The variant answers as the source form does."""
    rows = desk.notes["rows"]
    answers = []
    for words in (("net",), ("net", "--variant", name)):
        with desk.running("serve", *words, "--port", "0") as server:
            found = predict(server.said["url"], "net", rows)["predictions"]
            answers.append([one["label"] for one in found])
            server.drain()
    assert np.mean(np.array(answers[0]) == np.array(answers[1])) >= 0.96


def _shared(desk: Desk, name: str) -> None:
    """Its recipe is a file; a form that is not worth it is refused."""
    (desk.folder / "form.json").write_text(desk.mw("optimize", "recipe", f"net#{name}").out)
    words = ("optimize", "apply", "form.json", "net", *ROWS, "--budget", "60s")
    strict = desk.mw(*words, "--gain", "900", "--json", code=9).json
    assert strict["findings"][0]["ending"] == "slower"


def test_interrupted_it_leaves_the_best_so_far(desk: Desk):
    there = {one["name"] for one in desk.mw("variants", "net", "--json").json}
    process = begun(desk, "--seed", "1", "--budget", "60s")

    def kept() -> bool:
        lines = journal(desk)
        return any(one.get("finding", {}).get("ending") == "kept" for one in lines)

    with process:
        until("a form passed its gates", kept, 90)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err
    assert "is the best form so far, and kept" in err
    assert {one["name"] for one in desk.mw("variants", "net", "--json").json} >= there
