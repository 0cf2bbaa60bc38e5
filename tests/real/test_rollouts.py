"""Roll-outs end to end: real processes, live traffic, and a verdict on evidence.

Seven models roll out at once on one `up`: a good version is promoted; a slow one, one that fails,
one that says something else to copies of the traffic, one that labels wrongly and one that is worse
in a slice (both told by late feedback) are rolled back; one without traffic is not promoted.
"""

import csv
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import urllib3
import yaml
from sklearn.tree import DecisionTreeClassifier

from desk import Desk, until
from modelworks.testing import onnx_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
WIDTH = 128
FEATURES = ("amount", "country")
MODELS = ("good", "slow", "failing", "copies", "labels", "slices", "silent")
ROLLED_BACK = ("failing", "slow", "copies", "labels", "slices")


def network(path: Path, layers: int) -> Path:
    """Of so many layers; 60 of them take some milliseconds."""
    return onnx_models.heavy(path, layers=layers, width=WIDTH)


def tree(path: Path, wrong: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Says whether `amount` is above a half, and errs where it is told to."""
    rows = np.array([[a / 40, c] for a in range(41) for c in (0, 1)])
    truth = (rows[:, 0] > 0.5).astype(int)
    said = np.where(wrong(rows), 1 - truth, truth)
    joblib.dump(DecisionTreeClassifier().fit(pd.DataFrame(rows, columns=FEATURES), said), path)
    return path


@dataclass
class Callers:
    """Who asks a model, and what came of it.

    Attributes:
        url: of the server.
        model: its name.
        body: makes a request, JSON, and what is true of it.
        pause_s: between two requests of one caller.
        statuses: of the answers.
        told: (id of a prediction, truth) of those that were answered.
    """

    url: str
    model: str
    body: Callable[[], tuple[dict, int | None]]
    pause_s: float = 0.02
    statuses: Counter = field(default_factory=Counter)
    told: list[tuple[str, int]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask, one request after the other, until the end."""
        pool = urllib3.PoolManager(retries=False, timeout=20)
        while not self.ended.wait(self.pause_s):
            body, truth = self.body()
            path = "v2/models/{}/infer" if "inputs" in body else "predict/{}"
            ident = str(uuid.uuid4())
            answer = pool.request(
                "POST",
                f"{self.url}/{path.format(self.model)}",
                json=body,
                headers={"X-Request-Id": ident},
            )
            self.statuses[answer.status] += 1
            if answer.status == 200 and truth is not None:
                self.told.append((ident, truth))


@contextmanager
def asking(*callers: Callers) -> Iterator[None]:
    threads = [threading.Thread(target=one.run, daemon=True) for one in callers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in callers:
            one.ended.set()
        for thread in threads:
            thread.join(30)


def tensor(name: str, datatype: str, data: list) -> dict:
    return {"inputs": [{"name": name, "datatype": datatype, "shape": [1, len(data)], "data": data}]}


def bodies(model: str) -> Callable[[], tuple[dict, int | None]]:
    """What is asked of a model."""
    chance = random.Random(model)
    if model == "failing":
        return lambda: (tensor("x", "INT64", [chance.randrange(100)]), None)
    if model in {"copies", "labels", "slices"}:

        def row() -> tuple[dict, int]:
            amount, country = chance.randrange(41) / 40, chance.randrange(2)
            rows = [dict(zip(FEATURES, (amount, country), strict=True))]
            return {"rows": [list(rows[0].values())]}, int(amount > 0.5)

        return row
    data = [round(chance.random(), 3) for _ in range(WIDTH)]
    return lambda: (tensor("x", "FP32", data), None)


def manifest(model: str, **spec: object) -> dict:
    steps = [{"share": "30%", "bake": "2s", "sample": 30}, {"share": "100%"}]
    usual = {
        "route": model,
        "stable": "1.0.0",
        "candidate": "2.0.0",
        "steps": steps,
        "primary": {"metric": "error_rate", "margin": "5pp"},
        "max_duration": "20m",
        "minimum_sample": 50,
    }
    return {"kind": "Rollout", "metadata": {"name": f"{model}-2"}, "spec": usual | spec}


def manifests() -> list[dict]:
    other = {"metric": "disagreement", "margin": "5pp"}
    wrong = {"metric": "wrong_rate", "margin": "5pp"}
    return [
        manifest("good"),
        manifest(
            "slow", guardrails=[{"metric": "latency_p50_ms", "margin": "50%"}], minimum_sample=5000
        ),
        manifest("failing"),
        manifest(
            "copies",
            steps=[{"share": "0%"}, {"share": "100%"}],
            primary=other,
            slices=["country=0"],
            minimum_sample=100_000,
        ),
        manifest("labels", primary=wrong, labels="100%", minimum_sample=100_000),
        manifest(
            "slices",
            primary={"metric": "wrong_rate", "margin": "20pp"},
            slices=["country=1"],
            labels="100%",
            minimum_sample=100_000,
        ),
        manifest("silent", max_duration="60s"),
    ]


def given(desk: Desk) -> None:
    """Two versions of each model, the first one the champion."""
    folder = desk.folder
    never = lambda rows: np.zeros(len(rows), bool)  # noqa: E731 - named where it is used
    files = {
        "good": (network(folder / "g1.onnx", 1), network(folder / "g2.onnx", 1)),
        "slow": (network(folder / "s1.onnx", 1), network(folder / "s2.onnx", 120)),
        "silent": (network(folder / "n1.onnx", 1), network(folder / "n2.onnx", 1)),
        "failing": (
            onnx_models.look_up(folder / "f1.onnx", 100),
            onnx_models.look_up(folder / "f2.onnx", 80),
        ),
        "copies": (
            tree(folder / "l1.joblib", never),
            tree(folder / "l2.joblib", lambda rows: rows[:, 0] > 0.7),
        ),
        "labels": (
            tree(folder / "w1.joblib", never),
            tree(folder / "w2.joblib", lambda rows: rows[:, 0] > 0.7),
        ),
        "slices": (
            tree(folder / "c1.joblib", never),
            tree(folder / "c2.joblib", lambda rows: (rows[:, 1] == 1) & (rows[:, 0] > 0.65)),
        ),
    }
    for model, (first, second) in files.items():
        desk.mw("import", str(first), "--name", model, "--version", "1.0.0")
        desk.mw("alias", "set", f"{model}@champion", "1.0.0")
        desk.mw("import", str(second), "--name", model, "--version", "2.0.0")


def phase(desk: Desk, model: str) -> str:
    return desk.mw("rollout", "status", f"{model}-2", "--json").json["rollout"]["phase"]


def last_word(desk: Desk, model: str) -> dict:
    return desk.mw("rollout", "history", f"{model}-2", "--json").json[-1]


def tell(desk: Desk, callers: Callers) -> None:
    """Bring the truth of what was answered since the last time."""
    told, callers.told = callers.told, []
    path = desk.folder / f"{callers.model}-told.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prediction", "truth"])
        writer.writerows(told)
    how = ("--model", callers.model, "--truth", "truth")
    desk.mw("feedback", "import", str(path), *how)


def test_seven_roll_outs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    given(desk)
    (tmp_path / "rollouts.yaml").write_text(yaml.safe_dump_all(manifests()))
    with ExitStack() as stack:
        server = stack.enter_context(
            desk.running("up", "--port", "0", "--control-port", "0", "--record", "1")
        )
        url = server.said["server"]
        asked = {name: Callers(url, name, bodies(name)) for name in MODELS if name != "silent"}
        stack.enter_context(asking(*asked.values()))
        until("everybody is answered", lambda: all(one.statuses[200] for one in asked.values()))
        desk.mw("rollout", "start", "-f", "rollouts.yaml")
        assert phase(desk, "good") in {"waiting", "running", "promoted"}
        desk.mw("rollout", "start", "-f", "rollouts.yaml", code=5)

        until("what fails is rolled back", lambda: phase(desk, "failing") == "rolled back", 240)
        until("what is slow is rolled back", lambda: phase(desk, "slow") == "rolled back", 240)
        until("what is good is promoted", lambda: phase(desk, "good") == "promoted", 240)
        until("nothing is known", lambda: phase(desk, "silent") == "inconclusive", 240)

        end = time.monotonic() + 400
        late = ["labels", "slices"]
        while late:
            assert time.monotonic() < end, desk.mw("rollout", "status").out
            for model in late:
                tell(desk, asked[model])
            time.sleep(5)
            late = [model for model in late if phase(desk, model) != "rolled back"]
        until("what says something else goes", lambda: phase(desk, "copies") == "rolled back", 240)

        reasons = {model: last_word(desk, model)["sentence"] for model in MODELS}
        settled(desk)
    for name, callers in asked.items():
        lost = {status for status in callers.statuses if status != 200}
        assert not lost or name == "failing", (name, callers.statuses)
    failed = asked["failing"].statuses
    assert failed[200] > 20 * (sum(failed.values()) - failed[200])
    told = {model: last_word(desk, model) for model in ROLLED_BACK}
    metrics = {model: one["findings"][0]["metric"] for model, one in told.items()}
    assert metrics == {
        "failing": "error_rate",
        "slow": "latency_p50_ms",
        "copies": "disagreement",
        "labels": "wrong_rate",
        "slices": "wrong_rate",
    }, reasons
    assert told["slices"]["findings"][0]["slice"] == "country=1"
    copies = desk.mw("rollout", "status", "copies-2", "--json").json["copies"]["2.0.0"]
    assert copies["count"] > 50
    assert 0.5 < copies["agreement"] < 0.9
    assert {"0", "1"} >= {side for one in copies["flips"] for side in one[:2]}
    assert copies["worst"][0]["stable"] != copies["worst"][0]["candidate"]
    assert {one["actor"] for one in told.values()} == {"watch"}
    assert "no request" in reasons["silent"]


def settled(desk: Desk) -> None:
    """The champion is who won; routes and aliases of the roll-outs are away."""

    def champion(model: str) -> str:
        found = desk.mw("show", f"{model}@champion", "--json").json
        return str(found["version"])

    until("the champion is the promoted one", lambda: champion("good") == "2.0.0")
    assert {champion(model) for model in MODELS if model != "good"} == {"1.0.0"}
    text = (desk.folder / "home" / "run" / "routes.json").read_text
    until("routes are given back", lambda: "failing" not in text())
    assert "silent" in text()  # it waits for a person
    desk.mw("rollout", "abort", "silent-2", "--reason", "nobody asks it")
    assert phase(desk, "silent") == "aborted"
