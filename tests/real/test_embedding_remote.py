"""An embedded model that comes from a control plane: fetched, checked, followed, and kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import modelworks
from modelworks.client.http import HttpTransport
from modelworks.control.forms import here
from modelworks.control.service import Factory
from modelworks.core.errors import (
    CorruptError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.home import Home
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.testing import onnx_models as models
from modelworks.testing.candidates import candidate, measured, variant

pytestmark = pytest.mark.real

SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),),
    (TensorSpec("y", Datatype.FP32, (None, 3)),),
    Layout.MATRIX,
)
PLAIN = """
import json, sys
import modelworks
with modelworks.load("fraud@champion", url=sys.argv[1], home=sys.argv[2], poll=0) as session:
    print(json.dumps([session.version, session.problem, session.predict([[1, 2, 3]])]))
    heavy = ("sqlalchemy", "obstore", "fastapi", "pydantic", "onnx")
    print(json.dumps([name for name in heavy if name in sys.modules]))
"""


class Plane:
    """A control plane as a process, on a port that it keeps when it is started again."""

    def __init__(self, home, folder):
        self.home, self.folder = home, folder
        self.port = 0
        self.process = None

    def start(self):
        announce = self.folder / "announce.json"
        announce.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "modelworks.apps.control", "--home", str(self.home.root)),
                *("--port", str(self.port), "--announce", str(announce)),
            ]
        )
        until(lambda: announce.exists() or self.process.poll() is not None)
        self.port = json.loads(announce.read_text())["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def put(self, factor, alias="champion"):
        with Factory(self.home) as factory:
            models.double(self.folder / "m.onnx", factor=factor)
            data = (self.folder / "m.onnx").read_bytes()
            return factory.publish(
                candidate(self.folder / "candidate", data, alias=alias, signature=SIGNATURE)
            )

    def stored(self, version):
        [(_, digest)] = version.artifact.files
        return self.home.blobs / "sha256" / digest[7:9] / digest[7:]


def until(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def plane(home, tmp_path):
    plane = Plane(home, tmp_path)
    plane.put(2.0)
    plane.start()
    yield plane
    plane.kill()


@pytest.fixture
def away(tmp_path):
    """The data folder of the machine that embeds."""
    return Home(tmp_path / "away")


def answers(factor):
    return [{"outputs": {"y": [factor, 2 * factor, 3 * factor]}}]


def test_it_is_fetched_followed_and_goes_on_without_the_control_plane(plane, away):
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0.1) as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)
        plane.put(3.0)
        until(lambda: session.version == "1.1.0")
        assert session.predict([[1, 2, 3]]) == answers(3.0)
        plane.kill()
        until(lambda: "goes on answering" in session.problem)
        assert plane.url in session.problem
        assert session.predict([[1, 2, 3]]) == answers(3.0)
        plane.put(4.0)
        plane.start()
        until(lambda: session.version == "1.2.0")
        until(lambda: session.problem == "")
        assert session.predict([[1, 2, 3]]) == answers(4.0)


def test_every_answer_is_of_one_version_while_the_alias_moves(plane, away):
    plane.put(3.0, alias="")
    transport = HttpTransport(plane.url)
    stop = threading.Event()
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0.05) as session:

        def ask():
            seen = set()
            while not stop.is_set():
                found = session.predict([[1, 2, 3]])
                assert found == answers({"1.0.0": 2.0, "1.1.0": 3.0}[found.version])
                seen.add(found.version)
            return seen

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            for move in range(4):
                transport.set_alias("fraud", "champion", ("1.1.0", "1.0.0")[move % 2])
                time.sleep(0.5)
            stop.set()
            assert set().union(*(one.result(20) for one in asking)) == {"1.0.0", "1.1.0"}
        assert session.statistics().failures == 0
    transport.close()


def test_a_program_that_starts_offline_has_the_last_good_one(plane, away):
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0) as session:
        assert session.version == "1.0.0"
    plane.kill()
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0.1) as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)
        assert "as of before" in session.problem
        plane.put(3.0)
        plane.start()
        until(lambda: session.version == "1.1.0")
    plane.kill()
    with pytest.raises(UnavailableError, match="no control plane answers"):
        modelworks.load("fraud@challenger", url=plane.url, home=away.root)
    [folder] = [
        f for f in (away.root / "embedded").iterdir() if f.is_dir() and holds(f, plane, 3.0)
    ]
    (folder / "model.onnx").chmod(0o600)
    (folder / "model.onnx").write_bytes(b"x" * (folder / "model.onnx").stat().st_size)
    with pytest.raises(UnavailableError, match="no control plane answers"):  # altered: not served
        modelworks.load("fraud@champion", url=plane.url, home=away.root)


def holds(folder, plane, factor):
    path = models.double(plane.folder / "same.onnx", factor=factor)
    return (folder / "model.onnx").read_bytes() == path.read_bytes()


def test_a_damaged_file_is_never_served(plane, away):
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0) as session:
        version = plane.put(3.0)
        plane.stored(version).chmod(0o600)
        plane.stored(version).write_bytes(b"x" * plane.stored(version).stat().st_size)
        with pytest.raises(UnavailableError, match="is damaged"):
            session.refresh()
        assert session.predict([[1, 2, 3]]) == answers(2.0)
    with pytest.raises(CorruptError, match="damaged"):
        modelworks.load("fraud:1.1.0", url=plane.url, home=away.root)


def test_bytes_altered_on_the_way_are_refused(plane, away, monkeypatch):
    send = HttpTransport._fetch

    def altered(self, ref, name, digest, target):
        download = self._wire.download

        def write(path, into):
            download(path, into)
            into.write(b"one byte more")

        self._wire.download = write
        send(self, ref, name, digest, target)

    monkeypatch.setattr(HttpTransport, "_fetch", altered)
    with pytest.raises(CorruptError, match="does not match its digest"):
        modelworks.load("fraud@champion", url=plane.url, home=away.root)
    assert not [f for f in (away.root / "embedded").iterdir() if f.is_dir()]


def test_a_control_plane_killed_in_mid_download_leaves_nothing(plane, away, monkeypatch):
    download = HttpTransport._fetch

    def killed(self, ref, name, digest, target):
        plane.kill()
        download(self, ref, name, digest, target)

    with monkeypatch.context() as patch:
        patch.setattr(HttpTransport, "_fetch", killed)
        with pytest.raises(UnavailableError):
            modelworks.load("fraud@champion", url=plane.url, home=away.root)
    assert not list((away.root / "embedded").iterdir())
    plane.start()
    with modelworks.load("fraud@champion", url=plane.url, home=away.root) as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)


def test_a_full_disk_is_said(plane, away, monkeypatch):
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0) as session:
        plane.put(3.0)

        def full(_self, _ref, _name, _digest, target):
            with target.open("xb"), Path("/dev/full").open("wb", buffering=0) as sink:
                sink.write(b"x")

        with monkeypatch.context() as patch:
            patch.setattr(HttpTransport, "_fetch", full)
            with pytest.raises(UnavailableError, match="No space left"):
                session.refresh()
        assert session.predict([[1, 2, 3]]) == answers(2.0)
        assert session.refresh() == "1.1.0"


def test_what_is_not_there_is_said(plane, away):
    with pytest.raises(NotFoundError, match="nobody"):
        modelworks.load("nobody", url=plane.url, home=away.root)


def test_old_folders_go(plane, away):
    with modelworks.load("fraud@champion", url=plane.url, home=away.root, poll=0) as session:
        plane.put(3.0)
        assert session.refresh() == "1.1.0"
        folders = [f for f in (away.root / "embedded").iterdir() if f.is_dir()]
        assert len(folders) == 2  # another process may be about to open the older one
        for folder in folders:
            os.utime(folder, (0, 0))
        plane.put(4.0)
        assert session.refresh() == "1.2.0"
        left = [f for f in (away.root / "embedded").iterdir() if f.is_dir()]
        assert [holds(folder, plane, 4.0) for folder in left] == [True]


def test_the_environment_names_the_control_plane_and_the_base_install_is_enough(plane, away):
    environment = {**os.environ, "MODELWORKS_URL": plane.url, "MODELWORKS_HOME": str(away.root)}
    script = PLAIN.replace(", url=sys.argv[1], home=sys.argv[2]", "")
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    first, second = map(json.loads, ran.stdout.splitlines())
    assert first == ["1.0.0", "", answers(2.0)]
    assert second == []
    assert ran.stderr == ""
    shutil.rmtree(away.root)


def test_a_form_is_fetched_chosen_here_and_kept_for_a_start_offline(plane, away):
    with Factory(plane.home) as factory:
        version = factory.show("fraud")
        for name, kind in (("int8", here().hardware), ("elsewhere", "abacus")):
            folder = plane.folder / name
            folder.mkdir()
            models.double(folder / "model.onnx", factor=7.0)
            figures = {"measurement": measured(kind, 100.0), "source": measured(kind, 300.0)}
            factory.add_variant(variant(version, name, **figures), folder)
    given = {"url": plane.url, "home": away.root, "poll": 0}
    with modelworks.load("fraud@champion", variant="fastest", **given) as session:
        assert (session.version, session.variant) == ("1.0.0", "int8")
        assert session.predict([[1, 2, 3]]) == answers(7.0)
    with pytest.raises(UnsupportedError, match="measured on 'abacus'"):
        modelworks.load("fraud#elsewhere", **given)
    with pytest.raises(NotFoundError, match="no variant 'int4'"):
        modelworks.load("fraud#int4", **given)
    with modelworks.load("fraud@champion", **given) as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)
    plane.kill()
    with modelworks.load("fraud@champion#fastest", **given | {"poll": 0.1}) as session:
        assert (session.variant, session.predict([[1, 2, 3]])) == ("int8", answers(7.0))
        assert "as of before" in session.problem
        plane.put(3.0)
        plane.start()
        until(lambda: session.version == "1.1.0")
        assert (session.variant, session.predict([[1, 2, 3]])) == ("", answers(3.0))
