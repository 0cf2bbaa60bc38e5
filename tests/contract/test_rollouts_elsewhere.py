"""The verbs of roll-outs mean the same on this machine and over HTTP."""

import json
import socket
import threading

import pytest
import uvicorn

from modelworks.api.app import create_app
from modelworks.cli.exits import Exit
from modelworks.cli.main import main
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.rollouts import ArmEvidence, Evidence, Sums
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.contract
ONE = """
kind: Rollout
metadata: {name: fraud-2}
spec:
  route: fraud
  stable: 1.0.0
  candidate: 2.0.0
  steps: [{share: 20%, bake: 10m}, {share: 100%}]
  primary: {metric: error_rate, margin: 5pp}
"""


@pytest.fixture
def factory(home, tmp_path):
    with Factory(home, actor="ana") as factory:
        for name in ("fraud", "churn"):
            for version in ("1.0.0", "2.0.0"):
                content = f"{name} {version}".encode()
                made = candidate(tmp_path / name, content, name, version=Semver.parse(version))
                factory.publish(made)
            factory.set_alias(name, "champion", "1.0.0")
        yield factory


@pytest.fixture(params=["here", "elsewhere"])
def type_(request, factory, monkeypatch, tmp_path, capsys):
    """Types `modelworks ... --json`; the exit code and what it said."""

    def typed(*words, text=False):
        code = main([*map(str, words), *([] if text else ["--json"])])
        out = capsys.readouterr().out
        return code, (out if text else json.loads(out))

    monkeypatch.setenv("MODELWORKS_HOME", str(factory.home.root))
    if request.param == "here":
        yield typed
        return
    monkeypatch.setenv("MODELWORKS_HOME", str(tmp_path / "nothing-is-here"))
    watch = Watch(factory.home)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        app = create_app(factory, watch)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        monkeypatch.setenv("MODELWORKS_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            yield typed
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            watch.close()


def test_the_whole_life_of_a_roll_out(type_, factory, tmp_path):
    path = tmp_path / "rollouts.yaml"
    second = ONE.replace("fraud-2", "churn-2").replace("route: fraud", "route: churn")
    path.write_text(f"{ONE}---{second}")
    code, started = type_("rollout", "start", "-f", path, "--sticky", "header:X-User")
    assert code == Exit.OK
    assert [one["rollout"]["plan"]["name"] for one in started] == ["fraud-2", "churn-2"]
    assert {one["asked"]["key"] for one in started} == {"x-user"}
    kept = factory.rollouts.ready("fraud-2")
    arms = tuple(ArmEvidence(a, 9, metrics={"error_rate": Sums(9)}) for a in kept.shares)
    factory.rollouts.look("fraud-2", Evidence(kept.rollout.step_ns + 1, arms, kept.shares))

    assert len(type_("rollout", "status")[1]) == 2
    code, told = type_("rollout", "watch", "fraud-2", "--once", text=True)
    assert "steps: [20 %, 0 s of 10 min] > 100 %" in told
    assert "error_rate" in told
    assert (
        type_("rollout", "pause", "fraud-2", "--reason", "lunch")[1]["rollout"]["phase"] == "paused"
    )
    assert type_("rollout", "resume", "fraud-2")[1]["rollout"]["phase"] == "running"
    assert type_("rollout", "promote", "fraud-2")[1]["shares"] == {"1.0.0": 0.0, "2.0.0": 1.0}
    assert type_("rollout", "abort", "churn-2")[1]["rollout"]["phase"] == "aborted"
    phases = [one["phase"] for one in type_("rollout", "history", "fraud-2")[1]]
    assert phases == ["waiting", "running", "paused", "running", "promoted"]
    code, report = type_("rollout", "report", "fraud-2", "--html", tmp_path / "page.html")
    assert report["looks"][0]["requests"] == {"1.0.0": 9, "2.0.0": 9}
    assert "plot-error-rate" in (tmp_path / "page.html").read_text()
    assert type_("why-not", "churn:2.0.0")[0] == Exit.GATE


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("rollout", "status", "nobody"), Exit.NOT_FOUND),
        (("rollout", "abort", "a/../b"), Exit.NOT_FOUND),
        (("why-not", "nobody"), Exit.NOT_FOUND),
        (("rollout", "start", "-f", "file"), Exit.CONFLICT),
    ],
)
def test_what_cannot_be_is_refused_alike(type_, tmp_path, monkeypatch, words, code, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text(
        ONE.replace("1.0.0", "9").replace("2.0.0", "1.0.0").replace("9", "2.0.0")
    )
    assert main([*words]) == code
    assert capsys.readouterr().err
