"""The examples under real web servers: 16 clients while the alias moves, and not one failure."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import urllib3

import modelworks
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.imports import ImportOptions, ImportRequest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"
CLIENTS = 16
MOVES = 4
APART_S = 1.0
START_S = 60.0
SERVERS = {
    "flask": (
        ("flask", "waitress"),
        ("waitress", "--threads=16", "--listen=127.0.0.1:0", "flask_app:app"),
    ),
    "fastapi": (("fastapi", "uvicorn"), ("uvicorn", "--port", "0", "fastapi_app:app")),
    "django": (
        ("django", "gunicorn"),
        (
            *("gunicorn", "--preload", "--workers", "2", "--threads", "8"),
            *("--bind", "127.0.0.1:0", "--no-control-socket", "django_app:application"),
        ),
    ),
}


def rows_of(seed):
    numbers = np.random.default_rng(seed)
    return [
        {"age": age / 90, "income": income / 90}
        for age, income in zip(
            numbers.integers(18, 90, 1 + seed % 3).tolist(),
            numbers.integers(0, 9, 3).tolist(),
            strict=False,
        )
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """`fraud:1.0.0` and `1.1.0`: the same network, trained on opposite labels."""
    network = pytest.importorskip("sklearn.neural_network")
    joblib = pytest.importorskip("joblib")
    pandas = pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("fraud")
    numbers = np.random.default_rng(0)
    table = pandas.DataFrame(
        {"age": numbers.integers(18, 90, 400), "income": numbers.integers(0, 9, 400)}, dtype=float
    )
    labels = np.where(table["age"] > 50, "fraud", "fine")
    (table / 90).to_csv(folder / "sample.csv", index=False)
    home = Home(folder / "home")
    with Factory(home) as factory:
        for given in (labels, np.where(labels == "fraud", "fine", "fraud")):
            model = network.MLPClassifier((256, 256), max_iter=30, tol=1.0, random_state=0)
            joblib.dump(model.fit(table / 90, given), folder / "model.joblib")
            factory.import_model(
                ImportRequest(
                    file=folder / "model.joblib",
                    name="fraud",
                    options=ImportOptions(sample=folder / "sample.csv"),
                )
            )
        factory.set_alias("fraud", "champion", "1.0.0")
    return home


@pytest.fixture(scope="module")
def wanted(home):
    """(version, seed) -> what it answers, asked alone."""
    found = {}
    for version in ("1.0.0", "1.1.0"):
        with modelworks.load(f"fraud:{version}", home=home.root) as session:
            for seed in range(CLIENTS):
                found[version, seed] = list(session.predict(rows_of(seed)))
    assert all(found["1.0.0", seed] != found["1.1.0", seed] for seed in range(CLIENTS))
    return found


@pytest.fixture(params=list(SERVERS))
def url(request, home, tmp_path):
    modules, arguments = SERVERS[request.param]
    for module in modules:
        if importlib.util.find_spec(module) is None:
            words = f"pip install {module}"
            pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)
    with Factory(home) as factory:
        factory.set_alias("fraud", "champion", "1.0.0")
    log = tmp_path / "log"
    environment = {**os.environ, "MODELWORKS_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
    environment.pop("MODELWORKS_URL", None)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=EXAMPLES,
            env=environment,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield listening(process, log)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait(30)
    assert "Traceback" not in log.read_text()


def listening(process, log):
    end = time.monotonic() + START_S
    pattern = re.compile(r"(?:Serving on|running on|Listening at:) (http://127\.0\.0\.1:[1-9]\d*)")
    while time.monotonic() < end and process.poll() is None:
        if found := pattern.search(log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(log.read_text())


def test_sixteen_clients_while_the_alias_moves(url, home, wanted, capsys):
    pool = urllib3.PoolManager(maxsize=CLIENTS, retries=False)
    stop = threading.Event()

    def client(seed):
        seen = set()
        body = json.dumps({"rows": rows_of(seed)}).encode()
        headers = {"Content-Type": "application/json"}
        while not stop.is_set():
            answer = pool.request("POST", f"{url}/score", body=body, headers=headers, timeout=60)
            assert answer.status == 200, answer.data
            found = json.loads(answer.data)
            compare(found["predictions"], wanted[found["version"], seed])
            seen.add(found["version"])
        return seen

    with ThreadPoolExecutor(CLIENTS) as clients, Factory(home) as factory:
        asking = [clients.submit(client, seed) for seed in range(CLIENTS)]
        try:
            for move in range(MOVES):
                time.sleep(APART_S + 1.0)  # what is embedded looks once a second
                factory.set_alias("fraud", "champion", ("1.1.0", "1.0.0")[move % 2])
            time.sleep(APART_S)
        finally:
            stop.set()
        seen = [one.result(60) for one in asking]
    assert set().union(*seen) == {"1.0.0", "1.1.0"}
    found = json.loads(pool.request("GET", f"{url}/model").data)
    with capsys.disabled():
        print(f"\n{found}")  # noqa: T201 - figures for the page
    assert found["failures"] == 0
    assert found["problem"] == ""
    assert found["mean_batch"] > 1
    assert found["requests"] > found["engine_calls"]
    wrong(pool, url)
    pool.clear()


def compare(found, expected):
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def wrong(pool, url):
    """A bad row is the caller's, and named."""
    body = json.dumps({"rows": [{"age": 41, "income": "much"}]}).encode()
    headers = {"Content-Type": "application/json"}
    answer = pool.request("POST", f"{url}/score", body=body, headers=headers)
    assert answer.status == 400
    assert json.loads(answer.data)["field"] == "rows[0].income"
