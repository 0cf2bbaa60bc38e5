"""The JAX importer against the contract of all importers, inside JAX's environment.

Run by tests/real/test_intake_jax.py.
"""

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.importers.jax import JaxImporter
from modelworks.testing.importers import Bad, Good, ImporterContract

HEAD = "import jax\nimport jax.numpy as jnp\nimport numpy as np\n"
MLP = """
WEIGHTS = [np.random.default_rng(i).standard_normal(s).astype("f4")
           for i, s in enumerate([(8, 16), (16, 3)])]

def build():
    def model(x):
        return jax.nn.softmax(jnp.tanh(x @ WEIGHTS[0]) @ WEIGHTS[1])
    return model
"""
CNN = """
KERNEL = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype("f4")

def build():
    def model(image):
        found = jax.lax.conv_general_dilated(
            image, KERNEL, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(found).mean((1, 2))
    return model
"""
TWO = """
def build():
    return jax.jit(lambda a, b: {"sum": a + b, "larger": jnp.maximum(a, b)})
"""


def trusted(*inputs):
    return ImportOptions(inputs=inputs, trust=True)


def spec(name, *shape):
    return TensorSpec(name, Datatype.FP32, (None, *shape))


class TestJax(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        return JaxImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("jax")
        random = np.random.default_rng(0)
        rows = random.standard_normal((32, 8)).astype("f4")
        images = random.random((8, 16, 16, 3)).astype("f4")
        found = []
        for name, text, given in (
            ("mlp", MLP, {"x": rows}),
            ("cnn", CNN, {"image": images}),
            ("two", TWO, {"a": rows[:, :2], "b": rows[:, 2:4]}),
        ):
            (folder / f"{name}.py").write_text(HEAD + text)
            options = trusted(*(spec(key, *array.shape[1:]) for key, array in given.items()))
            found.append(Good(folder / f"{name}.py", "jax-function", given, options))
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        one = trusted(spec("x", 8))

        def bad(name, text, says, options=one):
            (folder / f"{name}.py").write_text(HEAD + text)
            return Bad(folder / f"{name}.py", says, canary, options)

        export = folder / "f.jaxexport"
        export.write_bytes(b"<\0\0\0" + b"ML\xefR\rStableHLO_v1.9.5\0" + bytes(200))
        return [
            bad("silent", f"open({str(canary)!r}, 'w')\n", "--trust", ImportOptions()),
            bad("inputs", "", "--input", ImportOptions(trust=True)),
            bad("callback", "def build():\n    return lambda x: jax.pure_callback("
                "np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)\n", "jax2onnx"),
            bad("nothing", "def build():\n    return None\n", "returned a NoneType"),
            Bad(export, "jax.export wrote"),
        ]  # fmt: skip

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "plain.py").write_text("import numpy\n")
        (folder / "jaxlike.txt").write_text("import jax\n")
        (folder / "model.onnx").write_bytes(b"\x08\x09\x3a\x00")
        return sorted(folder.iterdir())

    def test_batches_are_symbolic(self, reads):
        for read in reads:
            assert read.imported.signature.batch_axis

    def test_outputs_have_the_names_of_the_functions_own(self, reads):
        names = [[o.name for o in read.imported.signature.outputs] for read in reads]
        assert names == [["output"], ["output"], ["larger", "sum"]]
