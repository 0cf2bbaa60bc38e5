"""The whole line as one story, through public commands only. Each feature adds its step.

Read it from top to bottom: `test_the_story` tells the order, each step is one function.
"""

import json
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import urllib3
from answering import answer_in_other_ways
from optimizing import look_for_a_faster_form
from rolling import roll_out_on_evidence
from watching import watch_what_it_does

import containers
import environments
from desk import HTTP, Desk, Server, get, predict, until
from store_servers import free_port

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

CITIES = ("berlin", "lagos", "lima", "osaka")


# -- the steps -------------------------------------------------------------------------------------


def train(desk: Desk) -> None:
    """Somebody's training scripts: five models of five frameworks."""
    import joblib
    import lightgbm
    import onnx
    import torch
    import xgboost
    from onnx import TensorProto, helper
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    draw = np.random.default_rng(7)
    rows = pd.DataFrame(
        {
            "age": draw.integers(18, 90, 400).astype(np.float64),
            "income": draw.normal(50_000, 9_000, 400).round(2),
            "city": draw.choice(CITIES, 400),
        }
    )
    leaves = ((rows["age"] > 50) ^ (rows["city"] == "lima")).map({True: "leaves", False: "stays"})
    rows.head(50).to_csv(desk.folder / "churn.csv", index=False)
    for name, strength in (("churn-a", 0.01), ("churn-b", 10.0)):
        columns = ColumnTransformer(
            [
                ("number", StandardScaler(), ["age", "income"]),
                ("word", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ]
        )
        model = make_pipeline(columns, LogisticRegression(C=strength)).fit(rows, leaves)
        joblib.dump(model, desk.folder / f"{name}.joblib")
        desk.notes[name] = model.predict(rows.head(50)).tolist()
    numbers = rows[["age", "income"]].to_numpy()
    binary = (leaves == "leaves").to_numpy().astype(int)
    boosted = xgboost.XGBClassifier(n_estimators=8, max_depth=3).fit(numbers, binary)
    boosted.save_model(desk.folder / "trees.json")
    desk.notes["trees"] = boosted.predict(numbers[:20]).tolist()
    desk.notes["numbers"] = numbers[:20].astype(np.float32)
    light = lightgbm.train(
        {"objective": "regression", "verbose": -1}, lightgbm.Dataset(numbers, numbers[:, 0]), 8
    )
    light.save_model(desk.folder / "light.txt")
    desk.notes["light"] = light.predict(numbers[:20]).tolist()
    torch.manual_seed(7)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    torch.save(net.state_dict(), desk.folder / "net.pt")
    (desk.folder / "net.py").write_text(
        "import torch\n\n\ndef build():\n"
        "    return torch.nn.Sequential(\n"
        "        torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)\n"
        "    )\n"
    )
    with torch.no_grad():
        desk.notes["net"] = net(torch.ones(2, 2)).numpy()
    line = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "line",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
            [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 10.0])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(line, desk.folder / "line.onnx")


def bring_in(desk: Desk) -> None:
    """Every file becomes a version; the name is all that stdout says."""
    imports = {
        "churn:1.0.0": ("churn-a.joblib", "--name", "churn", "--sample", "churn.csv"),
        "trees:1.0.0": ("trees.json", "--name", "trees"),
        "light:1.0.0": ("light.txt", "--name", "light"),
        "net:1.0.0": (
            *("net.pt", "--name", "net", "--factory", "net.py:build"),
            *("--input", "x:FP32[-1,2]"),
        ),
        "line:1.0.0": ("line.onnx", "--name", "line", "--tag", "plain", "--label", "team=core"),
    }
    for ref, words in imports.items():
        done = desk.mw("import", *words)
        assert done.out == f"{ref}\n"
        assert "parity" in done.err
        parity = [
            e for e in desk.mw("show", ref, "--json").json["evidence"] if e["kind"] == "parity"
        ]
        assert [e["verdict"] for e in parity] == ["passed"], parity
    assert [m["name"] for m in desk.mw("models", "--json").json] == sorted(
        ["churn", "trees", "light", "net", "line"]
    )


class Hostile:
    """Runs a command the moment it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def refuse_what_is_unsafe_or_broken(desk: Desk) -> None:
    """A hostile pickle runs nothing; a torn file gets one line."""
    marker = desk.folder / "ran"
    (desk.folder / "hostile.pkl").write_bytes(pickle.dumps(Hostile(marker)))
    done = desk.mw("import", "hostile.pkl", "--name", "hostile", code=4)
    assert "system" in done.err
    assert done.err.strip().splitlines()[-1].startswith("error: ")
    assert not marker.exists()
    (desk.folder / "torn.json").write_bytes((desk.folder / "trees.json").read_bytes()[:200])
    desk.mw("import", "torn.json", "--name", "torn", code=4)
    (desk.folder / "empty.onnx").write_bytes(b"")
    desk.mw("import", "empty.onnx", "--name", "empty", code=4)
    desk.mw("import", "not-there.onnx", "--name", "x", code=3)
    assert len(desk.mw("models", "--json").json) == 5


def versions_aliases_history(desk: Desk) -> None:
    """Versions are immutable, aliases move, and the past can be asked for."""
    done = desk.mw("import", "churn-b.joblib", "--name", "churn", "--version", "1.0.0", code=5)
    assert "1.0.0" in done.err
    desk.mw("alias", "set", "churn@champion", "1.0.0", "--reason", "first")
    between = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
    time.sleep(1.5)
    done = desk.mw(
        *("import", "churn-b.joblib", "--name", "churn", "--sample", "churn.csv"),
        *("--parent", "churn:1.0.0", "--alias", "challenger"),
    )
    assert done.out == "churn:1.1.0\n"
    compared = desk.mw("compare", "churn:1.0.0", "churn:1.1.0", "--json").json
    assert compared["compatible"] is True
    assert "artifact.digest" in [d["field"] for d in compared["differences"]]
    desk.mw("alias", "set", "churn@champion", "churn@challenger", "--reason", "better")
    assert desk.mw("history", "churn@champion", "--at", between).out == "churn:1.0.0\n"
    assert desk.mw("show", "churn@champion", "--json").json["ref"] == "churn:1.1.0"
    desk.mw("alias", "set", "churn@champion", "1.0.0", "--reason", "second thoughts")
    reasons = [c["reason"] for c in desk.mw("history", "churn@champion", "--json").json]
    assert reasons == ["first", "better", "second thoughts"]
    checked = desk.mw("verify", "--all", "--json").json
    assert [v["ok"] for v in checked] == [True] * 6


def serve_two_models_and_two_versions(desk: Desk) -> None:
    """One server, asked by plain HTTP, by the command line, and by another project's client."""
    import tritonclient.http

    rows = pd.read_csv(desk.folder / "churn.csv")
    words = ("serve", "churn:1.0.0", "churn:1.1.0", "trees", "net", "light", "--port", "0")
    with desk.running(*words) as server:
        url = server.said["url"]
        told = rows.to_dict(orient="records")
        for version, file in (("1.0.0", "churn-a"), ("1.1.0", "churn-b")):
            answer = predict(url, f"churn:{version}", told)
            assert answer["version"] == version
            assert [p["label"] for p in answer["predictions"]] == desk.notes[file]
        assert predict(url, "churn", told[:1])["version"] == "1.0.0"  # the champion
        done = desk.mw("predict", "churn@challenger", "--csv", "churn.csv", "--url", url)
        assert [json.loads(line)["label"] for line in done.out.splitlines()] == desk.notes[
            "churn-b"
        ]
        desk.mw("predict", "nobody", "--rows", "[[1]]", "--url", url, code=3)
        done = desk.mw("predict", "churn", "--rows", '{"age": "old"}', "--url", url, code=4)
        assert "rows[0]" in done.err
        answer = predict(url, "light", desk.notes["numbers"].tolist())
        scores = [p["score"] for p in answer["predictions"]]
        assert np.allclose(scores, desk.notes["light"], rtol=1e-4)
        client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
        try:
            assert client.is_server_ready()
            wanted = tritonclient.http.InferInput("x", [2, 2], "FP32")
            wanted.set_data_from_numpy(np.ones((2, 2), np.float32), binary_data=True)
            found = client.infer("net", [wanted])
            name = client.get_model_metadata("net")["outputs"][0]["name"]
            assert np.allclose(found.as_numpy(name), desk.notes["net"], atol=1e-5)
            statistics = client.get_inference_statistics("net")["model_stats"][0]
            assert statistics["inference_stats"]["success"]["count"] == 1
        finally:
            client.close()
        answer = predict(url, "trees", desk.notes["numbers"].tolist())
        assert [p["label"] for p in answer["predictions"]] == desk.notes["trees"]
        assert 'modelworks_requests_total{model="trees",version="1.0.0"' in get(f"{url}/metrics")
        server.drain()


def how_fast_and_why(desk: Desk) -> None:
    """Measured from outside, explained from inside; a socket file, and a model that may leave."""
    words = ("serve", "churn", "trees", "--port", "0", "--unix", "mw.sock", "--workers", "auto")
    access = desk.folder / "access.log"
    with desk.running(*words, "--isolation", "process", "--access-log", str(access)) as server:
        url = server.said["url"]
        load = ("-c", "1,4", "-s", "1", "--warm", "0.2", "--check", "--html", "churn.html")
        found = desk.mw("bench", "churn", "--url", url, *load, "--json").json
        points = found["sweeps"][0]["points"]
        assert [point["connections"] for point in points] == [1, 4]
        assert all(point["answered"] > 0 == point["failed"] for point in points), found
        assert "<svg" in (desk.folder / "churn.html").read_text()
        told = desk.mw("explain-latency", "churn", "--url", url, "--json").json
        assert told["outcomes"]["success"] >= sum(point["answered"] for point in points)
        assert sum(told["cuts"].values()) == told["calls"] > 0
        assert told["verdict"]
        rows = desk.notes["numbers"].tolist()
        for where in (url, f"unix://{desk.folder}/mw.sock"):
            words = ("predict", "trees", "--rows", json.dumps(rows), "--url", where)
            labels = [json.loads(line)["label"] for line in desk.mw(*words).out.splitlines()]
            assert labels == desk.notes["trees"]
        for verb in ("unload", "load"):
            done = HTTP.request("POST", f"{url}/v2/repository/models/trees/{verb}")
            assert done.status == 200, done.data
        assert [p["label"] for p in predict(url, "trees", rows)["predictions"]] == labels
        server.drain()
    logged = [json.loads(line) for line in access.read_text().splitlines()]
    assert {"/predict/trees"} <= {line["path"] for line in logged}
    assert not (desk.folder / "mw.sock").exists()


@dataclass
class Load:
    """Requests one after another until told to stop; what they answered."""

    url: str
    rows: list[Any]
    model: str = "churn@champion"
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.versions.append(predict(self.url, self.model, self.rows)["version"])
            except (AssertionError, urllib3.exceptions.HTTPError, ValueError) as error:
                self.failures.append(repr(error))

    @contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join(30)


def up_follows_the_registry(desk: Desk) -> None:
    """The whole factory: an alias moves under load, a model comes in over HTTP."""
    rows = pd.read_csv(desk.folder / "churn.csv").head(2).to_dict(orient="records")
    with desk.running("up", "--port", "0", "--control-port", "0") as factory:
        control, url = factory.said["control"], factory.said["server"]
        done = desk.mw("up", "--port", "0", "--control-port", "0", code=5)
        assert str(factory.process.pid) in done.err
        load = Load(url, rows)
        with load.flowing():
            until("the first version answers", lambda: "1.0.0" in load.versions)
            desk.mw("alias", "set", "churn@champion", "1.1.0", MODELWORKS_URL=control)
            until("the second version answers", lambda: "1.1.0" in load.versions)
            moved = load.versions.index("1.1.0")
            until("some more requests", lambda: len(load.versions) > moved + 50)
        assert load.failures == []
        assert set(load.versions[moved + 20 :]) == {"1.1.0"}
        done = desk.mw("import", "line.onnx", "--name", "newline", MODELWORKS_URL=control)
        assert done.out == "newline:1.0.0\n"
        until("the new model is served", lambda: _ready(url, "newline"))
        assert predict(url, "newline", [[1, 2]])["predictions"][0]["outputs"]["y"] == 21.0
        _look_at_the_console(control)
        factory.drain()


def _ready(url: str, model: str) -> bool:
    return HTTP.request("GET", f"{url}/v2/models/{model}/ready").status == 200


def _look_at_the_console(control: str) -> None:
    page = get(control)
    for name in ("churn", "trees", "light", "net", "line", "newline"):
        assert f"/console/models/{name}" in page
    assert "everything registered" in page
    until("the console has seen requests", lambda: _drawn(control) > 0)
    churn = get(f"{control}/console/models/churn")
    assert "parity passed" in churn
    assert "second thoughts" in churn


def _drawn(control: str) -> int:
    """How many sparklines of the first page show anything."""
    return get(f"{control}/console/live").count("<polyline")


DEPLOYMENT = """\
apiVersion: modelworks/v1
kind: Deployment
metadata: {{name: {name}, labels: {{team: growth}}}}
spec:
  model: churn:{version}
  target: {target}
  replicas: 2
  access: {{port: {port}}}
  batching: {{max_batch_size: 16}}
  resources: {{memory: 512Mi}}
  strategy: {{drain_s: 5}}
"""


def one_manifest_two_targets(desk: Desk) -> None:
    """As processes here and as containers, another version under load, and one of them back."""
    rows = pd.read_csv(desk.folder / "churn.csv").to_dict(orient="records")
    ports = {"here": free_port(), "boxed": free_port()}
    file = desk.folder / "modelworks.yaml"
    with containers.docker_engine(bridge=False) as engine:
        docker = json.dumps(
            {"type": "docker", "settings": {"host": engine.host, "network": "host"}}
        )
        base = str(containers.base_layout(desk.folder / "base"))

        def write(version: str, more: str = "") -> None:
            texts = [
                DEPLOYMENT.format(name=name, version=version, target=target, port=ports[name])
                for name, target in (("here", "local"), ("boxed", docker))
            ]
            file.write_text("---\n".join(texts) + more)

        def says(name: str) -> str:
            return predict(f"http://127.0.0.1:{ports[name]}", "churn", rows[:3])["version"]

        write("1.0.0", "  colour: red\n")
        assert "spec.colour: there is no such key" in desk.mw("plan", code=4).err
        write("1.0.0", "  autoscaling: {max: 3}\n")
        desk.mw("plan", code=4)  # replicas and autoscaling contradict each other
        write("1.0.0")
        plan = desk.mw("plan", "--json").json
        assert plan["ok"]
        said = {one["path"]: one["support"] for one in plan["documents"][1]["answers"]}
        assert said["spec.resources.memory"] == "honoured"
        done = desk.mw("apply", "--yes", "--json", MODELWORKS_BASE=base).json["documents"]
        assert [(one["state"], one["revision"]) for one in done] == [("ready", 1), ("ready", 1)]
        assert [says(name) for name in ports] == ["1.0.0", "1.0.0"]
        again = desk.mw("apply", "--yes", "--json", MODELWORKS_BASE=base).json["documents"]
        assert [one["revision"] for one in again] == [1, 1]
        desk.mw("diff")
        write("1.1.0")
        assert "version: 1.0.0 -> 1.1.0" in desk.mw("diff", code=5).out
        here, boxed = (Load(f"http://127.0.0.1:{p}", rows[:2], "churn") for p in ports.values())
        with here.flowing(), boxed.flowing():
            desk.mw("apply", "--yes", MODELWORKS_BASE=base)
            assert [says(name) for name in ports] == ["1.1.0", "1.1.0"]
            assert "revision 1" in desk.mw("rollback", "boxed").out
            assert [says(name) for name in ports] == ["1.1.0", "1.0.0"]
        for load in (here, boxed):
            assert load.failures == []
            assert {"1.0.0", "1.1.0"} <= set(load.versions)
        assert boxed.versions[-1] == "1.0.0"
        shown = desk.mw("status", "boxed", "--json").json
        assert (shown["wanted"], shown["serving"], shown["state"]) == (1, 1, "ready")
        desk.mw("delete", "churn:1.0.0", "--yes", code=5)
        desk.mw("delete", "-f", "modelworks.yaml", "--yes")
        assert engine.containers() == []
        assert desk.mw("status", "--json").json == {"deployments": [], "routes": []}
        acts = [one["act"] for one in desk.mw("audit", "deployment/boxed", "--json").json]
        assert acts == ["deleted", "delete", "roll-back", "apply", "apply"]


def clean_up(desk: Desk) -> None:
    """What an alias holds is kept; what nobody needs goes."""
    done = desk.mw("delete", "churn:1.1.0", "--yes", code=5)
    assert "modelworks alias remove" in done.err
    desk.mw("delete", "churn", "--yes", code=5)
    desk.mw("alias", "remove", "churn@champion", "--reason", "over")
    desk.mw("alias", "remove", "churn@challenger")
    deleted = desk.mw("delete", "churn", "--yes", "--json").json["deleted"]
    assert sorted(deleted) == ["churn:1.0.0", "churn:1.1.0"]
    assert desk.mw("collect", "--json").json["blobs"] >= 2
    assert desk.mw("collect", "--json").json["blobs"] == 0
    desk.mw("show", "churn", code=3)
    assert all(v["ok"] for v in desk.mw("verify", "--all", "--json").json)


def other_frameworks_and_what_does_not_convert(desk: Desk) -> None:
    """Keras in an environment of its own, an estimator that stays what it is, two refusals."""
    import joblib
    from sklearn.neighbors import RadiusNeighborsClassifier

    files = environments.made("TensorFlow", environments.TENSORFLOW, "keras_files.py")
    for name in ("mlp.keras", "lambda.keras"):
        shutil.copy(files / name, desk.folder)
    # Kept between runs: what a user's first Keras import makes takes some hundred megabytes.
    (desk.folder / "home" / "environments").symlink_to(environments.kept())
    done = desk.mw("import", "mlp.keras", "--name", "mlp")
    assert done.out == "mlp:1.0.0\n"
    assert "parity      passed" in done.err
    done = desk.mw("import", "lambda.keras", "--name", "lambda", code=4)
    assert "Lambda" in done.err
    assert "--trust" in done.err

    draw = np.random.default_rng(7)
    rows = draw.normal(size=(200, 2))
    votes = RadiusNeighborsClassifier(0.9, outlier_label="most_frequent")
    votes.fit(rows, np.where(rows[:, 0] > 0, "right", "left"))
    joblib.dump(votes, desk.folder / "votes.joblib")
    words = ("import", "votes.joblib", "--name", "votes")
    assert "--runtime native" in desk.mw(*words, code=4).err
    assert "--trust" in desk.mw(*words, "--runtime", "native", code=4).err
    done = desk.mw(*words, "--runtime", "native", "--trust")
    assert done.out == "votes:1.0.0\n"
    assert "vouches" in done.err

    answers = np.load(files / "mlp.npz")
    told = rows[:20].tolist()
    wanted = votes.predict(rows[:20]).tolist()
    with desk.running("serve", "mlp", "votes", "--port", "0") as server:
        url = server.said["url"]
        found = predict(url, "mlp", answers["in_input"].tolist())["predictions"]
        scores = [next(iter(p["outputs"].values())) for p in found]
        assert np.allclose(scores, answers["out_output"], atol=1e-4)
        assert [p["label"] for p in predict(url, "votes", told)["predictions"]] == wanted
        os.kill(_of_its_own(server), signal.SIGKILL)
        until("the model is seen to be gone", lambda: not _ready(url, "votes"), 2.0)
        gone = HTTP.request("POST", f"{url}/predict/votes", json={"rows": told})
        assert gone.status in {200, 503}  # 200 where it is back already
        assert predict(url, "mlp", answers["in_input"][:1].tolist())["version"] == "1.0.0"
        until("it is back", lambda: _ready(url, "votes"))
        assert [p["label"] for p in predict(url, "votes", told)["predictions"]] == wanted
        server.drain()


def _of_its_own(server: Server) -> int:
    """The process that the native model runs in."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    found = [p.pid for p in family if "modelworks.sandbox.worker_child" in p.cmdline()]
    assert found, [p.cmdline() for p in family]
    return min(found)  # the other one is its spare


STEPS = (
    train,
    bring_in,
    refuse_what_is_unsafe_or_broken,
    versions_aliases_history,
    serve_two_models_and_two_versions,
    how_fast_and_why,
    watch_what_it_does,
    up_follows_the_registry,
    roll_out_on_evidence,
    look_for_a_faster_form,
    answer_in_other_ways,
    other_frameworks_and_what_does_not_convert,
    one_manifest_two_targets,
    clean_up,
)


def test_the_story(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for step in STEPS:
        begin = time.monotonic()
        step(desk)
        print(f"{step.__name__.replace('_', ' ')}: {time.monotonic() - begin:.1f} s")  # noqa: T201 - `make story` tells it
