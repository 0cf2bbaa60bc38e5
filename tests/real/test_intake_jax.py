"""JAX functions come in by their owner's word, converted in an environment of their own."""

import contextlib
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import psutil
import pytest

import environments
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    RefusedError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Layout, TensorSpec
from modelworks.ext.importers.jax import JaxImporter, pins
from modelworks.intake.service import bring_in
from modelworks.plugins.load import load
from modelworks.sandbox import environments as own

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

MLP = """
from pathlib import Path
import jax
import jax.numpy as jnp
import numpy as np

HERE = Path(__file__).parent

def build():
    weights = np.load(HERE / "weights.npz")
    def model(x):
        hidden = jnp.tanh(x @ weights["a"])
        return {"probabilities": jax.nn.softmax(hidden @ weights["b"]), "hidden": hidden}
    return model
"""

CNN = """
import jax
import jax.numpy as jnp
import numpy as np

def network():
    random = np.random.default_rng(3)
    kernel = random.standard_normal((3, 3, 3, 4)).astype("f4")
    dense = random.standard_normal((7 * 7 * 4, 5)).astype("f4")
    def model(image):
        found = jax.lax.conv_general_dilated(
            image, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(found).reshape(image.shape[0], -1) @ dense
    return model
"""


@pytest.fixture(scope="session")
def root():
    """Where Modelworks finds JAX's environment; made here, once."""
    try:
        own.make(pins.requirements(), environments.kept())
    except ModelworksError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(error.message)
        pytest.skip(error.message)
    return environments.kept()


@pytest.fixture
def bring(root, tmp_path):
    def call(file, inputs=(), trust=True, **more):
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        options = ImportOptions(inputs=tuple(inputs), trust=trust, **more)
        return bring_in(file, options, work, environments=root, actor="tester")

    return call


@pytest.fixture
def mlp(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    random = np.random.default_rng(1)
    weights = {
        n: random.standard_normal(s).astype("f4") for n, s in (("a", (8, 16)), ("b", (16, 3)))
    }
    np.savez(folder / "weights.npz", **weights)
    (folder / "fn.py").write_text(MLP)
    return folder / "fn.py"


def spec(name="x", shape=(None, 8), datatype=Datatype.FP32):
    return TensorSpec(name, datatype, shape)


def written(tmp_path, text, name="fn.py"):
    (tmp_path / name).write_text("import jax\nimport jax.numpy as jnp\n" + text)
    return tmp_path / name


def test_a_network_with_weights_beside_it(mlp, bring):
    candidate = bring(mlp, [spec()], factory=f"{mlp}:build")
    assert (candidate.format, candidate.source_format) == ("onnx", "jax-function")
    signature = candidate.signature
    assert signature.batch_axis
    assert signature.layout is Layout.MATRIX
    assert [output.name for output in signature.outputs] == ["hidden", "probabilities"]
    evidence = {item.kind: item for item in candidate.evidence}
    assert evidence["parity"].verdict is Verdict.PASSED
    assert evidence["trust"].verdict is Verdict.ACCEPTED
    assert evidence["scan"].verdict is Verdict.ACCEPTED
    assert "jax2onnx" in candidate.environment
    session = load("engines", "onnxruntime")().load(
        candidate.folder, EngineOptions(signature=signature)
    )
    weights = np.load(mlp.parent / "weights.npz")
    rows = np.random.default_rng(2).standard_normal((5, 8)).astype("f4")
    hidden = np.tanh(rows @ weights["a"])
    powers = np.exp(hidden @ weights["b"])
    found = session.infer({"x": rows})
    np.testing.assert_allclose(found[0], hidden, atol=1e-4)
    np.testing.assert_allclose(found[1], powers / powers.sum(1, keepdims=True), atol=1e-4)
    session.close()


@pytest.mark.long
def test_a_convolution_by_another_name(bring, tmp_path):
    (tmp_path / "cnn.py").write_text(CNN)
    candidate = bring(
        tmp_path / "cnn.py", [spec("image", (None, 16, 16, 3))],
        factory=f"{tmp_path / 'cnn.py'}:network",
    )  # fmt: skip
    assert candidate.signature.inputs == (TensorSpec("image", Datatype.FP32, (None, 16, 16, 3)),)
    assert candidate.signature.outputs[0].shape == (None, 5)
    parity = next(item for item in candidate.evidence if item.kind == "parity")
    assert parity.verdict is Verdict.PASSED


@pytest.mark.long
def test_integers_and_two_inputs(bring, tmp_path):
    file = written(tmp_path, "def build():\n    return lambda a, b: (a + b, a * 2)\n")
    whole = Datatype.INT32
    candidate = bring(file, [spec("a", (None, 2), whole), spec("b", (None, 2), whole)])
    assert [s.datatype for s in candidate.signature.outputs] == [whole, whole]


def test_without_trust_nothing_runs(bring, tmp_path):
    canary = tmp_path / "canary"
    file = written(tmp_path, f"open({str(canary)!r}, 'w').write('x')\n")
    with pytest.raises(RefusedError, match="--trust"):
        bring(file, [spec()], trust=False)
    assert not canary.exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def build():\n    return lambda x: jnp.linalg.svd(x)[1]\n", "jax2onnx|trace"),
        ("def build():\n    return 3\n", "returned a int"),
        ("def other():\n    return 3\n", "build is not there"),
        ("def build():\n    raise KeyError('weights')\n", "line 4: KeyError"),
        ("def build(:\n", "line 3: SyntaxError"),
        ("def build():\n    return lambda x: x @ jnp.ones((9, 2))\n", "cannot be traced"),
        ("def build():\n    return lambda x: {}\n", "no array"),
    ],
)
def test_what_does_not_convert_says_why(bring, tmp_path, text, said):
    with pytest.raises((InvalidError, UnsupportedError), match=said) as caught:
        bring(written(tmp_path, text), [spec()])
    assert "\n" not in caught.value.message


def test_inputs_must_be_said(bring, mlp):
    with pytest.raises(InvalidError, match="--input"):
        bring(mlp)
    with pytest.raises(UnsupportedError, match="FP64"):
        bring(mlp, [spec(datatype=Datatype.FP64)])


def test_the_factory_is_of_the_file_that_comes_in(bring, mlp):
    other = mlp.with_name("other.py")
    shutil.copyfile(mlp, other)
    other.write_text(other.read_text() + "\n# not the same\n")
    with pytest.raises(InvalidError, match="another"):
        bring(mlp, [spec()], factory=f"{other}:build")


EXPORT = """
import sys
import jax, jax.numpy as jnp
from jax import export
batch, = export.symbolic_shape("b")
function = jax.jit(lambda x: jnp.tanh(x))
made = export.export(function)(jax.ShapeDtypeStruct((batch, 8), jnp.float32))
open(sys.argv[1] + "/fn.jaxexport", "wb").write(made.serialize())
open(sys.argv[1] + "/fn.mlir", "wb").write(made.mlir_module_serialized)
"""


def test_what_jax_exported_is_told_apart(root, bring, tmp_path):
    python = own.make(pins.requirements(), root)
    subprocess.run([python, "-c", EXPORT, tmp_path], check=True, timeout=300, capture_output=True)
    for name in ("fn.jaxexport", "fn.mlir"):
        sniffed = JaxImporter().sniff(tmp_path / name)
        assert sniffed is not None, name
        assert sniffed.format == "jax-export"
        with pytest.raises(UnsupportedError, match=r"jax\.export wrote"):
            bring(tmp_path / name, trust=False)


def test_killed_while_it_converts(root, mlp, tmp_path):
    """The job's process dies as the system kills it; only the caller's own folder is left."""
    killed = []

    def kill(step):
        if step.startswith("Reading"):
            child = max(psutil.Process().children(), key=lambda p: p.create_time())
            killed.append(child.pid)
            child.kill()

    work = tmp_path / "work"
    options = ImportOptions(inputs=(spec(),), trust=True, factory=f"{mlp}:build")
    with pytest.raises(CrashedError, match="killed"):
        bring_in(mlp, options, work, kill, environments=root, actor="tester")
    assert killed
    assert list((work / "artifact").iterdir()) == []


def test_a_full_disk_is_told(root, mlp, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(work)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("a small file system cannot be mounted: run as root")
        pytest.skip("a small file system cannot be mounted: run as root")

    def fill(step):
        if step.startswith("Reading"):
            with contextlib.suppress(OSError), (work / "ballast").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

    options = ImportOptions(inputs=(spec(),), trust=True, factory=f"{mlp}:build")
    try:
        with pytest.raises((UnavailableError, RefusedError)) as caught:
            bring_in(mlp, options, work, fill, environments=root, actor="tester")
        assert "space" in caught.value.message or "disk" in caught.value.message
    finally:
        subprocess.run(["umount", str(work)], check=True)


def test_other_files_are_left_alone(tmp_path):
    importer = JaxImporter()
    plain = tmp_path / "plain.py"
    plain.write_text("import numpy\n# import jax is not here\n")
    assert importer.sniff(plain) is None
    assert importer.sniff(tmp_path) is None
    assert importer.sniff(tmp_path / "absent.py") is None
    noise = tmp_path / "noise.bin"
    noise.write_bytes(np.random.default_rng(0).bytes(4096))
    assert importer.sniff(noise) is None
    assert importer.sniff(Path("/dev/null")) is None


INNER = """
import sys
sys.path.append(sys.argv[1])
import pytest
quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore"]
sys.exit(pytest.main([*quiet, *sys.argv[2:]]))
"""


def test_the_contract_of_importers_holds_where_jax_is(root, tmp_path):
    """The suite runs in JAX's environment; pytest is ours, last on its path."""
    python = own.make(pins.requirements(), root)
    tests = Path(__file__).resolve().parents[1]
    suite = tests / "inner" / "jax_contract.py"
    command = [python, "-c", INNER, sysconfig.get_path("purelib"), str(suite), "--noconftest"]
    env = os.environ | {"PYTHONPATH": str(tests.parent / "src"), "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=800, env=env, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout
