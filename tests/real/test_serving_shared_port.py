"""Servers of their own on one port: who joins is ready, and who leaves is missed by nobody."""

import subprocess
import sys

import pytest

from modelworks.apps.health import ready_unix
from modelworks.core.served import ServedModel
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server, serve_list
from modelworks.testing.target_traffic import Traffic
from store_servers import free_port

pytestmark = pytest.mark.real


def listed(folder, version, factor):
    path = onnx_models.double(folder / f"{version}.onnx", factor=factor)
    model = ServedModel("fraud", f"{version}.0.0", str(path), f"sha256:{version:064}")
    return str(serve_list(folder / f"{version}.json", [model]))


@pytest.mark.parametrize("workers", [1, 2])
def test_one_after_another_without_a_gap(tmp_path, workers):
    port = str(free_port())

    def server(served, name):
        shared = ["--port", port, "--share-port", "--workers", str(workers)]
        return Server(["--served", served, *shared, "--unix", str(tmp_path / name)])

    with server(listed(tmp_path, 1, 2.0), "a") as first:
        traffic = Traffic(first.url, "fraud", lambda: None)
        with traffic.flowing():
            traffic.until(2.0)
            with server(listed(tmp_path, 2, 3.0), "b"):
                assert ready_unix(str(tmp_path / "b")) == ""
                traffic.until(3.0)
                first.terminate()
                first.wait()
                assert "does not answer" in ready_unix(str(tmp_path / "a"))
                asked = traffic.answers[2.0]
                traffic.until(3.0, times=50)
                assert traffic.answers[2.0] == asked
                traffic.stop()
        assert not traffic.failures, traffic.failures[:5]


@pytest.mark.parametrize("workers", [1, 2])
def test_who_cannot_load_its_model_never_joins(tmp_path, workers):
    port = str(free_port())
    shared = ["--port", port, "--share-port", "--workers", str(workers)]
    with Server(["--served", listed(tmp_path, 1, 2.0), *shared]) as good:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"no model")
        model = ServedModel("fraud", "2.0.0", str(broken), "sha256:" + "0" * 64)
        served = serve_list(tmp_path / "broken.json", [model])
        traffic = Traffic(good.url, "fraud", lambda: None)
        with traffic.flowing():
            done = subprocess.run(
                [sys.executable, "-m", "modelworks.apps.server", "--served", served, *shared],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            traffic.until(2.0, times=50)
        assert done.returncode == 4, done.stderr
        assert "fraud" in done.stderr
        assert not traffic.failures, traffic.failures[:5]
