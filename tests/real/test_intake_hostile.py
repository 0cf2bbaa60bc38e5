"""Files that want to run code: all are refused and none of it ran."""

import builtins
import io
import os
import pickle
import subprocess
import timeit
import zipfile

import joblib
import numpy as np
import pytest

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.intake.service import bring_in
from modelworks.sandbox.jobs import Warm

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def warm():
    modules = ("modelworks.intake.job", "modelworks.ext.importers.sklearn.convert")
    with Warm((*modules, "modelworks.ext.engines.onnxruntime")) as host:
        yield host


class Bomb:
    """Unpickles into a call."""

    def __init__(self, function, *arguments, state=None):
        self._reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self._reduced


def dumped(value, **more):
    file = io.BytesIO()
    joblib.dump(value, file, **more)
    return file.getvalue()


def with_estimator(bomb):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    model.coef_ = bomb
    return model


def files(canary):
    """Name -> bytes of files that create `canary` when they are believed."""
    command = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"
    big = np.arange(10_000.0)
    system = Bomb(os.system, command)
    return {
        "os.system.pkl": pickle.dumps(system),
        "os.system.protocol0.pkl": pickle.dumps(system, 0),
        "eval.pkl": pickle.dumps(Bomb(builtins.eval, code)),
        "exec.pkl": pickle.dumps(Bomb(builtins.exec, code)),
        "popen.pkl": pickle.dumps(Bomb(subprocess.Popen, ["touch", str(canary)])),
        "timeit.pkl": pickle.dumps(Bomb(timeit.timeit, code, "pass", timeit.default_timer, 1)),
        "runstring.pkl": b"cnumpy.testing._private.utils\nrunstring\n(S"
        + repr(code).encode()
        + b"\n}tR.",
        "getattr.pkl": pickle.dumps(Bomb(builtins.getattr, "x", "upper")),
        "import.pkl": b"c__builtin__\n__import__\n(S'os'\ntR.",
        "truncated.pkl": pickle.dumps(system)[:-1],
        "arrays.joblib": dumped([big, system]),
        "compressed.joblib": dumped([big, system], compress=3),
        "lzma.joblib": dumped(system, compress=("lzma", 3)),
        "inside.joblib": dumped(with_estimator(system), compress=3),
        "object_array.joblib": dumped(np.array([system, 1], dtype=object)),
        "class_state.pkl": b"csklearn.linear_model._logistic\nLogisticRegression\n"
        b"(dS'predict'\ncos\nsystem\nsb.",
        "joblib_hash.pkl": b"cjoblib.numpy_pickle\nload\n(S'/etc/passwd'\ntR.",
        "operator.pkl": b"coperator\nmethodcaller\n(S'upper'\ntR(S'x'\ntR.",
        "partial.pkl": b"cfunctools\npartial\n(cos\nsystem\ntR.",
        "sklearn_function.pkl": b"csklearn.utils._joblib\nload\n(S'/etc/passwd'\ntR.",
        "sklearn_download.pkl": b"csklearn.datasets\nfetch_file\n(S'http://127.0.0.1/x'\ntR.",
        "dotted.pkl": b"\x80\x04\x8c\x07sklearn\x8c\x0bbase.sys.x\x93.",
        "extension.pkl": b"\x80\x02\x82\x01.",
        "persistent.pkl": b"\x80\x02X\x01\x00\x00\x00xQ.",
        "cloudpickle.pkl": b"ccloudpickle.cloudpickle\n_builtin_type\n(S'CodeType'\ntR.",
        "loky.pkl": b"cjoblib.externals.loky.cloudpickle_wrapper\nloads\n(S'x'\ntR.",
    }


NAMES = sorted(files("/nonexistent"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trust", [False, True])
def test_it_is_refused_and_nothing_ran(warm, tmp_path, name, trust):
    canary = tmp_path / "canary"
    file = tmp_path / name
    file.write_bytes(files(canary)[name])
    with pytest.raises(InvalidError) as caught:
        bring_in(file, ImportOptions(trust=trust), tmp_path / "work", runner=warm.run)
    assert not canary.exists()
    assert "\n" not in caught.value.message
    assert len(caught.value.message) <= 500
    if name not in {"truncated.pkl", "extension.pkl", "persistent.pkl", "dotted.pkl"}:
        assert isinstance(caught.value, RefusedError) or "no model file" in caught.value.message
        named = ("not on the allow-list", "no honest pickle", "no model file")
        assert any(words in caught.value.message for words in named)


def test_the_canary_would_have_sung(tmp_path):
    """The test above proves something only if the files do what they say."""
    canary = tmp_path / "canary"
    for name in ("os.system.pkl", "eval.pkl", "timeit.pkl"):
        canary.unlink(missing_ok=True)
        pickle.loads(files(canary)[name])
        assert canary.exists(), name


def test_skops_files_are_audited(warm, tmp_path):
    skops = pytest.importorskip("skops.io")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    canary = tmp_path / "canary"
    model = make_pipeline(StandardScaler(), FunctionTransformer(os.system))
    model.steps[0][1].fit(np.eye(3))
    skops.dump(model, tmp_path / "m.skops")
    with pytest.raises(RefusedError, match="not on the allow-list"):
        bring_in(tmp_path / "m.skops", ImportOptions(), tmp_path / "w", runner=warm.run)
    assert not canary.exists()


def test_archives_that_lie(warm, tmp_path):
    bomb = tmp_path / "bomb.skops"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("zeros", bytes(200 << 20))
    with pytest.raises(RefusedError, match="bomb"):
        bring_in(bomb, ImportOptions(), tmp_path / "w1", runner=warm.run)
    packed = tmp_path / "bomb.joblib"
    packed.write_bytes(dumped(np.zeros(40 << 20), compress=9))
    with pytest.raises(ModelworksError, match=r"bomb|allow"):
        bring_in(packed, ImportOptions(), tmp_path / "w2", runner=warm.run)
    broken = tmp_path / "broken.skops"
    broken.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelworksError) as caught:
        bring_in(broken, ImportOptions(), tmp_path / "w3", runner=warm.run)
    assert "\n" not in caught.value.message
