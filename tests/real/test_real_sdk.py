"""`modelworks.serve` and `modelworks.Client`, as a notebook uses them."""

import asyncio
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelworks
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError, UnsupportedError
from modelworks.core.model import Verdict

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def iris() -> tuple[pd.DataFrame, pd.Series]:
    data = load_iris(as_frame=True)
    return data.data, data.target.map(dict(enumerate(data.target_names)))


@pytest.fixture(scope="module")
def fitted(iris):
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(*iris)


def test_an_estimator_is_on_a_port_in_one_line(fitted, iris):
    rows, _ = iris
    before = set(psutil.Process().children())
    with modelworks.serve(fitted, rows.head(20), name="iris") as served:
        assert served.url.startswith("http://127.0.0.1:")
        labels = [answer["label"] for answer in served.predict(rows)]
        assert labels == fitted.predict(rows).tolist()
        assert served.predict(rows.to_dict(orient="records")[:1])[0]["label"] == labels[0]
        parity = [e for e in served.version.evidence if e.kind == "parity"]
        assert [e.verdict for e in parity] == [Verdict.PASSED]
        name = served.version.signature.inputs[0].name
        found = served.infer({name: rows.to_numpy()[:3]})
        assert all(len(array) == 3 for array in found.values())
        client = modelworks.Client(server=served.url)
        assert client.predict("iris:1.0.0", rows.head(1))["version"] == "1.0.0"
        with pytest.raises(NotFoundError):
            client.predict("nobody", [[1]])
        with pytest.raises(InvalidError) as caught:
            client.predict("iris", [["a", 1, 2, 3]])
        assert caught.value.field.startswith("rows[0]")
        client.close()
        children = psutil.Process().children()
    assert not [child for child in set(children) - before if child.is_running()]
    served.close()  # twice is quiet
    with pytest.raises(UnavailableError):
        served.predict(rows.head(1))


def test_inside_a_running_event_loop(fitted):
    async def notebook() -> list[dict[str, object]]:
        with modelworks.serve(fitted) as served:
            return served.predict(np.array([[5.1, 3.5, 1.4, 0.2]]))

    assert asyncio.run(notebook())[0]["label"] == "setosa"


def test_a_torch_module(tmp_path):
    import torch

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    with pytest.raises(InvalidError, match="sample"):
        modelworks.serve(net)
    with modelworks.serve(net, torch.zeros(1, 4)) as served:
        answers = served.predict([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]])
    with torch.no_grad():
        wanted = net(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]])).numpy()
    name = served.version.signature.outputs[0].name
    found = [answer["outputs"][name] for answer in answers]
    assert np.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("model", [object(), 3, dict])
def test_what_is_no_model(model):
    with pytest.raises(UnsupportedError, match="modelworks import"):
        modelworks.serve(model)


def test_an_unfitted_estimator_is_refused():
    with pytest.raises(InvalidError, match="not fitted"):
        modelworks.serve(LogisticRegression())


def test_the_end_of_python_ends_the_server(tmp_path, fitted):
    import pickle

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(fitted))
    code = (
        "import modelworks, pickle, psutil, tempfile\n"
        f"served = modelworks.serve(pickle.load(open({str(tmp_path / 'm.pkl')!r}, 'rb')))\n"
        "print(*[child.pid for child in psutil.Process().children(recursive=True)])\n"
        "print(served._folder.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    pids, folder = done.stdout.splitlines()
    assert pids
    assert not [pid for pid in map(int, pids.split()) if psutil.pid_exists(pid)]
    assert not (tmp_path / folder).exists()


def test_the_client_is_the_command_line_in_python(home, tmp_path, fitted):
    import joblib

    joblib.dump(fitted, tmp_path / "iris.joblib")
    with modelworks.Client(home=home.root) as client:
        version = client.import_model(tmp_path / "iris.joblib", "iris")
        client.set_alias("iris", "champion", "1.0.0", "only one")
        assert client.show("iris@champion") == version
        assert client.models()[0].name == "iris"
        assert client.history("iris")[0].reason == "only one"
        assert client.verify("iris").ok
        client.remove_alias("iris", "champion")
        assert client.delete("iris") == ["iris:1.0.0"]
        assert client.collect().blobs >= 1
        with pytest.raises(modelworks.ModelworksError):
            client.show("iris")
