"""Recorded traffic is played to versions that answer alike, and to one that flips every tenth."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.tree import DecisionTreeClassifier

from desk import HTTP, Desk, until
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.records import Record

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
FEATURES = ("amount", "country")
KINDS, REQUESTS = 20, 200
FLIPPED = (3, 15)


def tree(path: Path, flipped: tuple[int, ...] = ()) -> Path:
    """Says whether `amount`, one of twenty, is ten or more; but for those that are flipped."""
    rows = np.array([[float(a), float(c)] for a in range(KINDS) for c in (0, 1)])
    said = (rows[:, 0] >= KINDS / 2).astype(int)
    said = np.where(np.isin(rows[:, 0], flipped), 1 - said, said)
    joblib.dump(DecisionTreeClassifier().fit(pd.DataFrame(rows, columns=FEATURES), said), path)
    return path


def given(desk: Desk, versions: dict[str, tuple[int, ...]]) -> list[tuple[str, int]]:
    """Versions with what they flip, and requests that the first one answered: id and amount."""
    for version, flipped in versions.items():
        file = tree(desk.folder / f"{version}.joblib", flipped)
        desk.mw("import", str(file), "--name", "fraud", "--version", version)
    desk.mw("alias", "set", "fraud@champion", "1.0.0")
    asked = []
    with desk.running("up", "--port", "0", "--control-port", "0", "--record", "1") as up:
        for number in range(REQUESTS):
            ident, amount = str(uuid.uuid4()), number % KINDS
            answer = HTTP.request(
                "POST",
                f"{up.said['server']}/predict/fraud",
                json={"rows": [{"amount": amount, "country": number // KINDS % 2}]},
                headers={"X-Request-Id": ident},
            )
            assert answer.status == 200, answer.data
            asked.append((ident, amount))
        up.drain()
    desk.mw("records", "compact")
    return asked


def test_a_replay_finds_what_differs_and_only_that(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    asked = given(desk, {"1.0.0": (), "2.0.0": FLIPPED})

    same = desk.mw("replay", "fraud:1.0.0", "--speed", "max", "--allow", "5%", "--json").json
    assert (same["found"], same["sent"], same["left"]) == (REQUESTS, REQUESTS, {})
    assert same["agreement"]["agreement"] == 1.0
    assert same["verdict"] == "promote"
    assert same["counts"]["played"] == same["counts"]["recorded"] | {"count": REQUESTS}

    path = tmp_path / "replay.html"
    words = ("--speed", "50", "--allow", "1%", "--slice", "country=1", "--html", str(path))
    told = desk.mw("replay", "fraud:2.0.0", *words, "--json", code=9).json
    assert told["digest"] == same["digest"]
    assert told["agreement"]["agreement"] == pytest.approx(0.9)
    flips = {(was, says): count for was, says, count in told["agreement"]["flips"]}
    assert flips == {("0", "1"): REQUESTS / KINDS, ("1", "0"): REQUESTS / KINDS}
    wrong = {ident for ident, amount in asked if amount in FLIPPED}
    assert {one["id"] for one in told["agreement"]["worst"]} == wrong
    assert [one["slice"] for one in told["by_slice"]] == ["*", "country=1"]
    assert told["verdict"] == "roll back"
    assert "Replay of fraud:2.0.0" in path.read_text()

    kept = desk.mw("show", "fraud:2.0.0", "--json").json["evidence"][-1]
    assert (kept["kind"], kept["verdict"]) == ("replay", "failed")
    assert kept["detail"]["digest"] == same["digest"]
    gate = desk.mw("why-not", "fraud:2.0.0", code=9).out
    assert "replay failed" in gate, gate

    killed_in_the_middle(desk)


def killed_in_the_middle(desk: Desk) -> None:
    """Nothing of it runs on, and what it left is no hindrance."""
    command = [sys.executable, "-m", "modelworks.cli.main", "replay", "fraud:2.0.0"]
    process = subprocess.Popen(
        [*command, "--speed", "0.01"], cwd=desk.folder, env=desk.environ(), stderr=subprocess.PIPE
    )
    try:
        run = desk.folder / "home" / "run"
        until("its server is there", lambda: servers(process.pid))
        (server,) = servers(process.pid)
        assert list(run.glob("replay-*"))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        until("its server is gone", lambda: not _runs(server))
    finally:
        process.kill()
        process.stderr.close()
    again = desk.mw("replay", "fraud:2.0.0", "--speed", "max", "--limit", "50", "--json").json
    assert again["sent"] == 50
    assert again["left"] == {"not drawn: more came than --limit": REQUESTS - 50}


def servers(parent: int) -> list[int]:
    """Ids of the model servers that a process has started."""
    task = Path(f"/proc/{parent}/task/{parent}/children")
    children = [int(text) for text in task.read_text().split()] if task.exists() else []
    return [one for one in children if b"modelworks.apps.server" in _command(one)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_roll_out_plays_recorded_traffic_before_a_user_is_asked(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    given(desk, {"1.0.0": (), "1.1.0": (), "2.0.0": FLIPPED})
    with desk.running("up", "--port", "0", "--control-port", "0", "--record", "1") as up:
        url = up.said["server"]
        ended = {}
        for version, margin in (("2.0.0", "2pp"), ("1.1.0", "10pp")):
            plan = manifest(version, margin)
            (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(plan))
            desk.mw("rollout", "start", "-f", "rollout.yaml")
            name = plan["metadata"]["name"]

            def state(name: str = name) -> dict:
                HTTP.request("POST", f"{url}/predict/fraud", json={"rows": [[4.0, 1.0]]})
                return desk.mw("rollout", "status", name, "--json").json

            until("it is over", lambda state=state: state()["ended_ns"], 200)
            ended[version] = state()["rollout"]
            text = (tmp_path / "home" / "run" / "routes.json").read_text
            until("its route is away", lambda text=text: '"fraud"' not in text(), 60)
        assert ended["2.0.0"]["phase"] == "rolled back"
        assert "replay of recorded traffic" in ended["2.0.0"]["reason"]
        assert not ended["2.0.0"]["began_ns"]  # no step of it ever began
        assert ended["1.1.0"]["phase"] == "promoted", ended
        kept = desk.mw("show", "fraud:1.1.0", "--json").json["evidence"][-1]
        assert (kept["verdict"], kept["detail"]["rollout"]) == ("passed", "fraud-1-1-0")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_killed_worker_takes_its_replay_along_and_the_next_one_begins_it_anew(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    for version in ("1.0.0", "1.1.0"):
        file = tree(tmp_path / f"{version}.joblib")
        desk.mw("import", str(file), "--name", "fraud", "--version", version)
    desk.mw("alias", "set", "fraud@champion", "1.0.0")
    began = now_ns() - 3000 * 10**9
    with Factory(Home(tmp_path / "home")) as factory:  # of most of an hour: it takes minutes
        factory.records.store.write([slow(began, number) for number in range(REQUESTS)])
    with desk.running("up", "--port", "0", "--control-port", "0"):
        (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(manifest("1.1.0", "10pp")))
        desk.mw("rollout", "start", "-f", "rollout.yaml")
        until("it is played", lambda: ours(tmp_path, b"apps.replayer"), 60)
        (player,) = ours(tmp_path, b"apps.replayer")
        until("its server is there", lambda: servers(player), 60)
        (server,) = servers(player)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in (player, server)} == {19}
        (worker,) = ours(tmp_path, b"apps.worker")
        os.kill(worker, signal.SIGKILL)
        until("both are gone", lambda: not _runs(player) and not _runs(server))
        until("it begins anew", lambda: ours(tmp_path, b"apps.replayer"), 60)
        desk.mw("rollout", "abort", "fraud-1-1-0", "--reason", "enough")
        until("it ends with its roll-out", lambda: not ours(tmp_path, b"apps.replayer"))


def slow(began: int, number: int) -> Record:
    inputs = {"amount": [float(number % KINDS)], "country": [1.0]}
    at_ns = began + number * 14 * 10**9
    return Record(f"r{number}", at_ns, "fraud", "1.0.0", inputs=inputs, outputs={"label": [0]})


def ours(folder: Path, word: bytes) -> list[int]:
    """Processes of this test with a word in their command."""
    found = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]
    lines = {pid: _command(pid) for pid in found}
    here = [pid for pid, text in lines.items() if word in text and bytes(folder) in text]
    return [pid for pid in here if _runs(pid)]


def manifest(version: str, margin: str) -> dict:
    return {
        "kind": "Rollout",
        "metadata": {"name": f"fraud-{version.replace('.', '-')}"},
        "spec": {
            "route": "fraud",
            "stable": "1.0.0",
            "candidate": version,
            "strategy": "blue-green",
            "steps": [{"share": "0%", "sample": 150}, {"share": "100%"}],
            "primary": {"metric": "error_rate", "margin": "10pp"},
            "guardrails": [{"metric": "disagreement", "margin": margin}],
            "minimum_sample": 150,
            "replay": "1h",
            "max_duration": "10m",
        },
    }
