"""The allow-list unpickler and its scan: what honest files need passes, all else does not."""

import datetime as dt
import gzip
import io
import lzma
import os
import pickle
import pickletools
import struct
import subprocess
import timeit
import zlib
from collections import OrderedDict
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.ext.importers.pickles.allow import AllowList, Entry, allow_list
from modelworks.ext.importers.pickles.load import load_allowed, load_named
from modelworks.ext.importers.pickles.scan import globals_in, scan
from modelworks.ext.importers.pickles.stream import Stream
from properties import examples

pytestmark = pytest.mark.unit

SAFE = AllowList("plain values").including(
    *(allow_list(name) for name in ("numpy", "scipy", "stdlib", "joblib"))
)
SKLEARN = AllowList(
    "scikit-learn",
    packages=(Entry(("sklearn",), "estimators"),),
    excluded=(Entry(("sklearn.datasets", "sklearn.utils"), "not models"),),
).including(SAFE)


class Call:
    """Pickles itself as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def written(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def refused(path: Path, allowed: AllowList = SAFE) -> str:
    with pytest.raises(RefusedError) as caught:
        load_allowed(path, allowed)
    assert "\n" not in caught.value.message
    return caught.value.message


VALUES = {
    "numbers": {"a": 1, "b": [2.5, None, True], "c": (1, 2), "d": {3}, "e": frozenset({4})},
    "text": [b"bytes", "text", "ä" * 300, bytearray(b"array")],
    "slices": [range(3), slice(1, 2), complex(1, 2)],
    "dates": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.timedelta(3)],
    "ordered": OrderedDict(a=1),
    "floats": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">f4"),
    "empty": np.zeros((0, 3)),
    "scalar": np.float32(2.5),
    "texts": np.array(["a", "bc"]),
    "objects": np.array(["a", None, 3], dtype=object),
    "dates64": np.array(["2026-01-02"], "M8[D]"),
    "fields": np.array([(1, 2.0, b"x")], [("a", "i4"), ("b", "f8", (2,)), ("c", "S3")]),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "void": np.zeros(3, np.dtype([("x", "u1")])),
    "masked": np.ma.masked_array([1, 2], [True, False]),
    "sparse": sparse.csr_matrix(np.eye(3)),
    "random": [np.random.RandomState(3), np.random.default_rng(3)],
    "types": [np.float64, np.dtype("f4"), float],
}


@pytest.mark.parametrize("name", VALUES)
def test_honest_values_come_back_in_every_protocol_and_packing(name, tmp_path):
    value = VALUES[name]
    files = [written(tmp_path / f"{p}.pkl", value, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)]
    for packing in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        files.append(tmp_path / f"{packing[0] if packing and packing != 3 else packing}.joblib")
        joblib.dump(value, files[-1], compress=packing)
    for file in files:
        assert pickle.dumps(load_allowed(file, SAFE)) == pickle.dumps(joblib.load(file)), file.name


GADGETS = {
    "shell": lambda canary: Call(os.system, f"touch {canary}"),
    "process": lambda canary: Call(subprocess.call, ["touch", str(canary)]),
    "eval": lambda canary: Call(eval, f"open({str(canary)!r}, 'w')"),
    "open": lambda canary: Call(open, str(canary), "w"),
    "timeit": lambda canary: Call(timeit.timeit, f"open({str(canary)!r}, 'w')"),
    "getattr": lambda _: Call(getattr, "x", "upper"),
    "import": lambda _: Call(__import__, "os"),
    "unpickle": lambda canary: Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {canary}"))),
    "numpy-file": lambda canary: Call(np.save, str(canary), np.zeros(2)),
    "function": lambda _: np.linalg.norm,
    "print": lambda _: print,
}


@pytest.mark.parametrize("wrap", ["plain", "old", "joblib", "packed", "objects", "truncated"])
@pytest.mark.parametrize("name", GADGETS)
def test_nothing_outside_the_list_runs(name, wrap, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "model"
    value = [np.arange(3.0), GADGETS[name](canary)]
    if wrap == "joblib":
        joblib.dump(value, path)
    elif wrap == "packed":
        joblib.dump(value, path, compress=("zlib", 9))
    elif wrap == "objects":
        joblib.dump(np.array([GADGETS[name](canary)], dtype=object), path)
    else:
        written(path, value, 0 if wrap == "old" else 4)
    if wrap == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    assert "not on the allow-list of plain values: nothing was executed" in refused(path)
    assert not canary.exists()


def test_the_first_refused_name_is_told(tmp_path):
    path = written(tmp_path / "a.pkl", [np.zeros(2), Call(os.system, "true")])
    assert refused(path).startswith(f"{os.name}.system is not on the allow-list")


def test_a_package_opens_its_classes_only(tmp_path):
    from sklearn.base import clone
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LinearRegression
    from sklearn.utils import Bunch

    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    loaded, found = load_named(path, SKLEARN)
    assert loaded.coef_ == model.coef_
    assert found.names[0] == "sklearn.linear_model._base.LinearRegression"
    assert "sklearn.base.clone" in refused(written(path, clone), SKLEARN)
    assert "load_iris" in refused(written(path, load_iris), SKLEARN)
    assert "sklearn.utils._bunch.Bunch" in refused(written(path, Bunch(a=1)), SKLEARN)
    # a module of the package re-exports what others define
    path.write_bytes(b"csklearn.base\nwarnings\n.")
    assert "sklearn.base.warnings" in refused(path, SKLEARN)
    path.write_bytes(b"csklearn_evil\nClass\n.")
    assert "sklearn_evil.Class" in refused(path, SKLEARN)


def test_dotted_names_extensions_and_persistent_ids_are_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.")
    assert "numpy.ndarray.dump" in refused(path)
    path.write_bytes(b"\x80\x02\x82\x01.")
    assert "extension code 1" in refused(path)
    path.write_bytes(b"Pname\n.")
    assert "persistent id" in refused(path)


def test_only_named_things_are_called_and_only_instances_change(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04K\x01)R.")  # calls the number 1
    assert "calls a int" in refused(path)
    path.write_bytes(b"\x80\x04K\x01)\x81.")  # makes an instance of it
    assert "calls a int" in refused(path)
    state = b"N}\x8c\x01xK\x01s\x86b."  # (None, {"x": 1}): slots, set by setattr
    path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93" + state)
    assert "changes a class" in refused(path)
    assert not hasattr(OrderedDict, "x")
    twice = (
        pickle.dumps(np.dtype("f8"), 4)[:-1]
        + b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."
    )
    path.write_bytes(twice)
    assert "builds one object twice" in refused(path)


def test_a_dtype_cannot_lie_about_its_layout(tmp_path):
    def state(*parts):
        dtype = np.dtype([("a", "f8")])

        class Lying:
            def __reduce__(self):
                return np.dtype, ("V8", False, True), parts or dtype.__reduce__()[2]

        return written(tmp_path / "a.pkl", Lying())

    assert load_allowed(state(), SAFE) == np.dtype([("a", "f8")])
    pointers = {"a": (np.dtype("O"), 0)}
    assert "contradictory" in refused(state(3, "|", None, ("a",), pointers, 8, 1, 0))
    outside = {"a": (np.dtype("f8"), 4096)}
    with pytest.raises(ModelworksError):
        load_allowed(state(3, "|", None, ("a",), outside, 8, 1, 16), SAFE)


def test_codecs_encode_is_latin1_only(tmp_path):
    path = written(tmp_path / "a.pkl", b"\xff\x00", 2)
    assert b"_codecs" in path.read_bytes()
    assert load_allowed(path, SAFE) == b"\xff\x00"
    path.write_bytes(path.read_bytes().replace(b"latin1", b"hex_co"))
    assert "only latin1" in refused(path)


def test_claims_larger_than_the_file_cost_nothing(tmp_path):
    path = tmp_path / "a.pkl"
    huge = struct.pack("<Q", 1 << 45)
    for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95"):  # bytes, text, bytearray, frame
        path.write_bytes(b"\x80\x05" + opcode + huge + b".")
        with pytest.raises(InvalidError, match=r"truncated|damaged"):
            load_allowed(path, SAFE)
    joblib.dump(np.zeros(4), path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"))
    assert path.read_bytes() != data
    with pytest.raises(InvalidError, match="elements is announced"):
        load_allowed(path, SAFE)


def test_joblib_arrays_that_cannot_be_are_refused(tmp_path):
    path = tmp_path / "a.joblib"
    joblib.dump(np.zeros(4), path)
    path.write_bytes(path.read_bytes().replace(b"K\x04\x85", b"N\x85"))
    assert "cannot be" in refused(path)
    joblib.dump(np.array([None]), path)
    whole = path.read_bytes()
    inner = whole.rindex(b"\x80\x05")
    path.write_bytes(whole[:inner] + pickle.dumps([1]) + whole[-1:])
    assert "something else" in refused(path)


def test_deep_nesting_is_bounded(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04" + b"(" * 100_000 + b".")
    assert "nests deeper" in refused(path)


def test_bombs_and_strange_packings_are_refused(tmp_path):
    path = tmp_path / "a.joblib"
    zeros = bytes(80 << 20)
    for packed in (zlib.compress(zeros, 1), gzip.compress(zeros, 1)):
        path.write_bytes(packed)
        with Stream(path) as stream, pytest.raises(RefusedError, match="bomb"):
            stream.read(len(zeros))
    path.write_bytes(b"\x04\x22\x4d\x18" + bytes(20))
    assert "lz4" in refused(path)
    path.write_bytes(b"ZF0x10" + bytes(20))
    assert "joblib before 0.10" in refused(path)
    # an xz header that asks for a dictionary of 1.5 GiB
    packed = bytearray(lzma.compress(b"x"))
    end = 12 + (packed[12] + 1) * 4  # of the block's header, whose checksum is its last four bytes
    packed[16] = 37
    packed[end - 4 : end] = zlib.crc32(packed[12 : end - 4]).to_bytes(4, "little")
    path.write_bytes(packed)
    with pytest.raises(InvalidError, match="damaged"):
        load_allowed(path, SAFE)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x04", b"hello world\n" * 50, bytes(50)])
def test_what_is_no_pickle_is_told_in_one_line(content, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InvalidError) as caught:
        load_allowed(path, SAFE)
    assert "\n" not in caught.value.message
    assert scan(path).root == ""


def test_a_name_that_the_installed_version_lacks_says_so(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"csklearn.linear_model\nGone\n.")
    with pytest.raises(InvalidError, match="install the version that wrote the file"):
        load_allowed(path, SKLEARN)


@examples(80)
@given(st.data())
def test_damaged_files_end_in_our_own_errors(data):
    """Any byte changed or cut: an error of ours, or a value; never anything else, never a call."""
    whole = _DAMAGE
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:at]
    else:
        broken = whole[:at] + data.draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
    path = _FOLDER / "damaged.joblib"
    path.write_bytes(broken)
    scan(path)
    try:
        load_allowed(path, SAFE)
    except ModelworksError as error:
        assert "\n" not in error.message


def _dumped(value: object) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


_DAMAGE = _dumped([np.arange(6.0), {"a": np.array(["x", None], dtype=object)}, np.float32(1)])


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory):
    global _FOLDER  # noqa: PLW0603 - hypothesis and function-scoped fixtures do not go together
    _FOLDER = tmp_path_factory.mktemp("damaged")


_FOLDER = Path()


def test_scan_names_what_the_interpreter_of_opcodes_names(tmp_path):
    value = [np.zeros(2), OrderedDict(a=dt.date(2026, 1, 1)), np.zeros(3, object)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = written(tmp_path / "a.pkl", value, protocol)
        found = scan(path)
        assert found.complete
        assert not found.joblib
        names = " ".join(found.globals)
        assert "OrderedDict" in names
        assert "datetime.date" in names
        assert "?" not in names
        if protocol < 4:  # there the argument of GLOBAL tells
            told = {
                a.replace(" ", ".")
                for o, a, _ in pickletools.genops(path.read_bytes())
                if o.name == "GLOBAL"
            }
            assert set(found.globals) == told


def test_scan_is_bounded_and_never_raises(tmp_path):
    path = tmp_path / "a"
    assert globals_in(tmp_path) == ()
    assert globals_in(path) == ()
    written(path, ["x" * 5000, Call(os.system, "true")])
    assert globals_in(path) == (f"{os.name}.system",)
    assert globals_in(path, limit=1000) == ()
    joblib.dump([Call(os.system, "true"), np.zeros(3)], path, compress=3)
    assert scan(path).compression == "zlib"
    assert f"{os.name}.system" in globals_in(path)
    path.write_bytes(path.read_bytes()[:40])
    scan(path)


def test_every_entry_has_a_reason_and_every_exact_name_exists():
    import importlib

    for allowed in map(allow_list, ("numpy", "scipy", "stdlib")):
        for entry in allowed.exact:
            assert entry.reason
        for name in allowed.names():
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name
