"""A fire drill by real processes: its own installation, a broken candidate, the rollback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.tree import DecisionTreeClassifier

from desk import Desk, until
from modelworks.control.scratch import clear
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.model import Verdict
from modelworks.core.processes import descendants
from modelworks.core.semver import Semver
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.registry.publish import Publication
from modelworks.rollout.why_not import State
from modelworks.testing import onnx_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
FEATURES = ("amount", "country")


def manifest(*guardrails: dict, **spec: object) -> dict:
    usual = {
        "route": "fraud",
        "stable": "1.0.0",
        "candidate": "2.0.0",
        "steps": [{"share": "40%", "bake": "60s", "sample": 50}, {"share": "100%"}],
        "primary": {"metric": "error_rate", "margin": "5pp"},
        "guardrails": list(guardrails),
        "max_duration": "20m",
    }
    return {"kind": "Rollout", "metadata": {"name": "fraud-2"}, "spec": usual | spec}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with a model and its champion, published as an import would."""
    (tmp_path / "artifact").mkdir()
    onnx_models.double(tmp_path / "artifact" / "model.onnx", width=2)
    x, y = (TensorSpec(name, Datatype.FP32, (None, 2)) for name in "xy")
    with Factory(Home(tmp_path / "home")) as factory:
        signature = Signature((x,), (y,))
        first = Semver.parse("1.0.0")
        factory.publish(
            Publication(
                "fraud", tmp_path / "artifact", "onnx", signature, version=first, alias="champion"
            )
        )
    return Desk(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Desk:
    """The same of a model that says labels, of two named features."""
    rows = np.array([[a / 40, c] for a in range(41) for c in (0, 1)])
    made = DecisionTreeClassifier().fit(pd.DataFrame(rows, columns=FEATURES), rows[:, 0] > 0.5)
    joblib.dump(made, tmp_path / "fraud.joblib")
    found = Desk(tmp_path)
    found.mw("import", "fraud.joblib", "--name", "fraud", "--version", "1.0.0")
    found.mw("alias", "set", "fraud@champion", "1.0.0")
    return found


def given(desk: Desk, document: dict) -> None:
    (desk.folder / "rollout.yaml").write_text(yaml.safe_dump(document))


@contextmanager
def registry(desk: Desk) -> Iterator[Factory]:
    with Factory(Home(desk.folder / "home")) as factory:
        yield factory


def nothing_is_left(desk: Desk) -> None:
    """Neither folders of the drill nor anything in the registry but the evidence."""
    assert not list((desk.folder / "home" / "run").glob("drill-*"))
    with registry(desk) as factory:
        assert factory.rollouts.every() == []
        assert [str(one.version) for one in factory.versions("fraud")] == ["1.0.0"]


def test_a_failing_candidate_is_seen_and_who_is_blind_is_told(desk: Desk) -> None:
    given(desk, manifest())
    how = ("-f", "rollout.yaml", "--fault", "failing", "--fault", "wrong", "--html", "drill.html")
    found = desk.mw("drill", *how, "--rate", "60", "--json", code=9).json
    (failing,) = found["results"]
    assert failing["passed"], failing
    assert 0 < failing["requests"] <= failing["allowed"]
    assert failing["lost"] == 0
    assert 0 < failing["failed"] < failing["requests"]
    assert failing["findings"][0]["metric"] == "error_rate"
    (wrong,) = found["unseen"]
    assert (wrong["fault"], wrong["accepted"]) == ("wrong", False)
    assert "add accuracy" in wrong["sentence"]
    assert not found["passed"]
    page = (desk.folder / "drill.html").read_text()
    assert "NOT passed" in page
    assert "add accuracy" in page
    nothing_is_left(desk)
    with registry(desk) as factory:
        kept = factory.show("fraud:1.0.0").evidence[-1]
        _, gates = factory.rollouts.gates("fraud:1.0.0")
    assert (kept.kind, kept.verdict) == ("drill", Verdict.FAILED)
    assert kept.detail["results"][0]["requests"] == failing["requests"]
    (gate,) = [one for one in gates if one.name == "drill"]
    assert (gate.state, gate.required) == (State.FAILED, False)
    assert "blind to: wrong" in gate.said


@pytest.mark.long
def test_every_fault_is_seen_for_the_right_reason(tree: Desk) -> None:
    rules = (
        {"metric": "error_rate", "margin": "5pp"},
        {"metric": "latency_p50_ms", "margin": "50%"},
    )
    primary = {"metric": "accuracy", "margin": "5pp"}
    given(tree, manifest(*rules, primary=primary, labels="100%", slices=["country=1"]))
    found = tree.mw("drill", "-f", "rollout.yaml", "--json").json
    by_fault = {one["fault"]: one for one in found["results"]}
    assert {name: one["metric"] for name, one in by_fault.items()} == {
        "failing": "error_rate",
        "wrong": "accuracy",
        "slow": "latency_p50_ms",
        "biased": "accuracy",
    }
    assert by_fault["biased"]["findings"][0]["slice"] == "country=1"
    assert found["passed"], found["sentence"]
    assert "drill       passed" in tree.mw("show", "fraud").out


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_runs_on_after_a_drill_that_was_ended(desk: Desk, number: signal.Signals) -> None:
    given(desk, manifest())
    process = subprocess.Popen(
        [sys.executable, "-m", "modelworks.cli.main", "drill", "-f", "rollout.yaml"],
        cwd=desk.folder,
        env=desk.environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = ""
        while "requests of the candidate" not in line:
            line = process.stderr.readline()
            assert line, "the drill ended by itself"
        children = [pid for pid in descendants(process.pid) if pid != process.pid]
        assert len(children) >= 4
    finally:
        process.send_signal(number)
        process.wait(90)
        process.stderr.close()
    until("its processes are gone", lambda: not [pid for pid in children if alive(pid)], 60)
    with registry(desk) as factory:
        assert not factory.show("fraud").evidence
    if number is signal.SIGINT:
        nothing_is_left(desk)
    else:
        run = desk.folder / "home" / "run"
        assert list(run.glob("drill-*"))
        clear(run, young_s=0.0)  # as the next drill does, a minute later
        nothing_is_left(desk)


def alive(pid: int) -> bool:
    return bool(descendants(pid))


@pytest.mark.long
def test_a_drill_whose_installation_dies_says_so_and_keeps_nothing(desk: Desk) -> None:
    given(desk, manifest())
    run = desk.folder / "home" / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "modelworks.cli.main", "drill", "-f", "rollout.yaml", "--rate", "2"],
        cwd=desk.folder,
        env=desk.environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    line = ""
    while "requests of the candidate" not in line:
        line = process.stderr.readline()
        assert line, "the drill ended by itself"
    (lock,) = run.glob("drill-*/home/run/up.lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "installation ended in the middle" in said
    nothing_is_left(desk)
    with registry(desk) as factory:
        assert not factory.show("fraud").evidence
