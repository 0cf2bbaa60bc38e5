"""Keras files and SavedModels from file to artifact, in TensorFlow's own environment."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import environments
from modelworks.core.errors import CrashedError, RefusedError, UnavailableError, UnsupportedError
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.model import Verdict
from modelworks.core.seams import EngineOptions
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load
from modelworks.sandbox import jobs

# Without a cache the environment comes from the index first: 600 MB.
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def files():
    return environments.made("TensorFlow 2.21", environments.TENSORFLOW, "keras_files.py")


def work_in(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def test_the_contract_of_all_importers(files, tmp_path):
    """The suite itself runs where TensorFlow is; pytest and our own code stand last on its path."""
    path = [sysconfig.get_path("purelib"), str(TESTS)]
    script = f"import sys; sys.path += {path!r}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [
            environments.tensorflow(), "-W", "ignore", "-c", script, "-q", "-x", "-W", "ignore",
            "-p", "no:cacheprovider", "-o", "addopts=", "-o", "timeout=0",
            "--rootdir", TESTS, "-c", os.devnull, TESTS / "inner" / "keras_contract.py",
        ],
        env={
            "PATH": os.defpath, "HOME": str(tmp_path), "MODELWORKS_KERAS_FILES": str(files),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS.parent / "src"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_file_comes_in_through_the_sandbox(files, tmp_path):
    steps = []
    candidate = bring_in(
        files / "mlp.keras",
        ImportOptions(),
        work_in(tmp_path),
        steps.append,
        environments=environments.kept(),
    )
    verdicts = {item.kind: item.verdict for item in candidate.evidence}
    assert verdicts["parity"] is verdicts["scan"] is verdicts["sandbox"] is Verdict.PASSED
    assert candidate.source_format == "keras-v3"
    assert candidate.environment["tensorflow"] == "2.21.0"
    assert "tensorflow" not in sys.modules
    session = load("engines", "onnxruntime")().load(
        candidate.folder, EngineOptions(signature=candidate.signature)
    )
    known = np.load(files / "mlp.npz")
    answer = session.infer({"input": known["in_input"]})[0]
    np.testing.assert_allclose(answer, known["out_output"], atol=1e-5, rtol=1e-4)
    session.close()


def test_what_does_not_convert_is_served_as_it_is_where_the_owner_vouches(files, tmp_path):
    with pytest.raises(UnsupportedError, match=r"StringSplit.*--runtime native"):
        bring_in(
            files / "split.keras",
            ImportOptions(),
            work_in(tmp_path),
            environments=environments.kept(),
        )
    (tmp_path / "again").mkdir()
    candidate = bring_in(
        files / "split.keras",
        ImportOptions(trust=True, runtime=Runtime.NATIVE),
        tmp_path / "again",
        environments=environments.kept(),
    )
    assert candidate.format == "native"
    interpreter = str(environments.tensorflow())
    session = load("engines", "native")().load(
        candidate.folder, EngineOptions(trusted=True, interpreter=interpreter)
    )
    try:
        texts = np.array([[b"a b"], [b"b zz"]], dtype=object)
        assert session.infer({"input": texts})[0].tolist() == [[2, 3, 0, 0], [3, 1, 0, 0]]
    finally:
        session.close()


@pytest.mark.parametrize(
    ("name", "says"), [("lambda.keras", "double"), ("reader_saved", "ReadFile")]
)
def test_a_refused_file_costs_no_environment(files, tmp_path, name, says):
    kept = tmp_path / "environments"
    with pytest.raises(RefusedError, match=says):
        bring_in(files / name, ImportOptions(), work_in(tmp_path), environments=kept)
    assert not kept.exists()


def test_without_a_folder_for_environments_it_says_so(files, tmp_path):
    with pytest.raises(UnsupportedError, match="environment of its own"):
        bring_in(files / "mlp.keras", ImportOptions(), work_in(tmp_path))


def test_killed_while_it_converts(files, tmp_path):
    """The job's process dies as the system kills it; only the caller's own folder is left."""
    import psutil

    killed = []

    def kill(step):
        if step.startswith("Reading"):
            child = max(psutil.Process().children(), key=lambda p: p.create_time())
            killed.append(child.pid)
            child.kill()

    work = work_in(tmp_path)
    with pytest.raises(CrashedError, match="killed"):
        bring_in(files / "mlp_saved", ImportOptions(), work, kill, environments=environments.kept())
    assert killed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["work"]
    assert list((work / "artifact").iterdir()) == []


def test_a_full_disk_is_told(files, tmp_path):
    work = work_in(tmp_path)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(work)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("a small file system cannot be mounted: run as root")
        pytest.skip("a small file system cannot be mounted: run as root")
    try:
        with pytest.raises((UnavailableError, RefusedError)) as caught:
            bring_in(
                files / "mlp_saved",
                ImportOptions(),
                work,
                lambda step: step.startswith("Reading") and _fill(work),
                environments=environments.kept(),
            )
        assert "space" in caught.value.message or "disk" in caught.value.message
    finally:
        subprocess.run(["umount", str(work)], check=True)


def _fill(folder: Path) -> None:
    try:
        with (folder / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        return


def test_a_warm_sandbox_leaves_it_to_a_process_of_its_own(files, tmp_path):
    with jobs.Warm(("modelworks.intake.job",)) as host:
        candidate = bring_in(
            files / "several.keras",
            ImportOptions(),
            work_in(tmp_path),
            runner=host.run,
            environments=environments.kept(),
        )
    assert [spec.name for spec in candidate.signature.inputs] == ["a", "b"]
    assert [spec.name for spec in candidate.signature.outputs] == ["p", "q"]
