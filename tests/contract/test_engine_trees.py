"""The engine `trees` against the engine contract, and files that would lead its kernel astray."""

import platform
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.trees import compiled
from modelworks.ext.formats.trees import About, Before, Change, Ending, Forest
from modelworks.ext.formats.trees_file import FILE, read, write
from modelworks.plugins import load as plugins
from modelworks.testing.engines import EngineCase, EngineContract, one_line

pytestmark = pytest.mark.contract
WIDTH = 3
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, WIDTH)),),
    (
        TensorSpec("label", Datatype.INT64, (None,)),
        TensorSpec("output", Datatype.FP32, (None, 2)),
    ),
)
ABOUT = About(SIGNATURE, Ending.CLASSES, WIDTH, False, "label", "output", (10, 20))


DATA = Path(__file__).parents[1] / "data" / "trees"
FIRST = [  # said by the version that wrote the file
    [0.5769929885864258, -0.15535670518875122],
    [2.0000689029693604, 2.1190133094787598],
    [0.8712499737739563, -0.3248218894004822],
    [-0.82554030418396, -2.07123064994812],
]


def forest(trees=5, depth=4, about=ABOUT, seed=0):
    """Whole trees of a depth, level by level, which add to one of two sums each."""
    numbers = np.random.default_rng(seed)
    nodes, inner = 2 ** (depth + 1) - 1, 2**depth - 1
    place = np.arange(nodes)
    leaf = place >= inner
    starts = np.arange(trees)[:, None] * nodes
    each = np.where(leaf, -1, 2 * place + 1)
    children = np.where(leaf, place, each) + starts
    leaves = np.where(leaf, place - inner + np.arange(trees)[:, None] * (inner + 1), -1)
    return Forest(
        about,
        thresholds=numbers.normal(size=trees * nodes).astype("f4"),
        features=numbers.integers(0, WIDTH, trees * nodes).astype("i4"),
        missing_right=numbers.integers(0, 2, trees * nodes).astype("u1"),
        children=children.ravel().astype("i4"),
        leaves=leaves.ravel().astype("i4"),
        values=numbers.normal(size=(trees * (inner + 1), 1)).astype("f4"),
        roots=starts.ravel().astype("i4"),
        targets=(np.arange(trees) % 2).astype("i4"),
        base=np.zeros(2, "f4"),
    )


def by_hand(given, x):
    """The sums, one row, tree and step at a time."""
    sums = np.zeros((len(x), 2), np.float32)
    for row, values in enumerate(x):
        for tree, root in enumerate(given.roots):
            node = root
            while given.leaves[node] < 0:
                value = values[given.features[node]]
                right = given.missing_right[node] if np.isnan(value) else (
                    value > given.thresholds[node]
                )  # fmt: skip
                node = given.children[node] + int(right)
            sums[row, given.targets[tree]] += given.values[given.leaves[node], 0]
    return sums


def rows(count):
    numbers = np.random.default_rng(count)
    found = numbers.normal(size=(count, WIDTH)).astype("f4")
    found[numbers.random(found.shape) < 0.2] = np.nan
    return {"x": found}


def load(path, **options):
    return plugins.load("engines", "trees")().load(path, EngineOptions(**options))


class TestTrees(EngineContract):
    @pytest.fixture
    def case(self, tmp_path):
        for name in ("model", "weighty", "folder"):
            (tmp_path / name).mkdir()
        write(forest(), tmp_path / "model" / FILE)
        write(forest(20, 15), tmp_path / "weighty" / FILE)
        whole = (tmp_path / "model" / FILE).read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "foreign": b"PK\x03\x04 this is a zip file and no model" * 10,
            "text": b"{}",
        }
        files = {}
        for what, data in broken.items():
            files[what] = tmp_path / f"{what}.npz"
            files[what].write_bytes(data)
        files["missing"] = tmp_path / "nowhere"
        files["folder without a model"] = tmp_path / "folder"
        return EngineCase(
            engine=plugins.load("engines", "trees")(),
            model=tmp_path / "model" / FILE,
            inputs=rows,
            broken=files,
            weighty=tmp_path / "weighty" / FILE,
        )


@pytest.mark.parametrize("count", [1, 2, 20, 21, 31, 32, 33, 4097])
def test_the_kernel_does_what_is_done_by_hand(tmp_path, count):
    write(forest(40, 3), tmp_path / FILE)
    session, x = load(tmp_path), rows(count)["x"]
    label, output = session.infer({"x": x})
    few = slice(0, 40)
    wanted = by_hand(read(tmp_path / FILE), x[few])
    np.testing.assert_array_equal(output[few], wanted)
    np.testing.assert_array_equal(label[few], np.where(wanted[:, 1] > wanted[:, 0], 20, 10))
    last = session.infer({"x": x[-1:]})
    np.testing.assert_array_equal(output[-1:], last[1])
    session.close()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])
def test_other_processors_come_to_the_same(tmp_path, monkeypatch, processor):
    """One that cannot read from many places at once, and one of vectors of eight."""
    write(forest(40, 3), tmp_path / FILE)
    x = {count: rows(count)["x"] for count in (1, 20, 70)}
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "processor", lambda: (processor, ""))
        compiled.forget()
        found = {count: load(tmp_path).infer({"x": given}) for count, given in x.items()}
    compiled.forget()
    for count, given in x.items():
        for left, right in zip(found[count], load(tmp_path).infer({"x": given}), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("count", [1, 64, 65, 128, 129, 500, 9001])
def test_more_threads_say_the_same_and_end_with_the_session(tmp_path, count):
    write(forest(40, 3), tmp_path / FILE)
    x = rows(count)
    alone = load(tmp_path).infer(x)
    session = load(tmp_path, threads=3)
    for _ in range(3):
        for left, right in zip(alone, session.infer(x), strict=True):
            np.testing.assert_array_equal(left, right)
    session.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("trees")]


def test_no_rows_give_no_rows(tmp_path):
    write(forest(), tmp_path / FILE)
    label, output = load(tmp_path).infer({"x": np.empty((0, WIDTH), "f4")})
    assert (label.shape, label.dtype) == ((0,), np.int64)
    assert (output.shape, output.dtype) == ((0, 2), np.float32)


def test_outputs_of_calls_are_their_own_unless_reused(tmp_path):
    write(forest(), tmp_path / FILE)
    session = load(tmp_path)
    first = session.infer(rows(2))[1]
    kept = first.copy()
    session.infer({"x": rows(2)["x"] + 1})
    np.testing.assert_array_equal(first, kept)
    again = session.reusing()
    held = again.infer(rows(2))[1]
    assert held is again.infer({"x": rows(2)["x"] + 1})[1]


def test_arrays_need_not_lie_in_one_piece(tmp_path):
    write(forest(), tmp_path / FILE)
    session = load(tmp_path)
    for count in (3, 50):
        x = rows(count)["x"]
        wide = np.zeros((count, 2 * WIDTH), "f4")
        wide[:, ::2] = x
        for left, right in zip(
            session.infer({"x": x}), session.infer({"x": wide[:, ::2]}), strict=True
        ):
            np.testing.assert_array_equal(left, right)


def test_a_file_that_was_written_by_the_first_version_is_read(tmp_path):
    """Whatever the format becomes: versions that were registered are served for years."""
    x = rows(4)["x"]
    x[0, 1] = -1
    label, output = load(DATA / "version-1.npz").infer({"x": x})
    assert label.tolist() == [10, 20, 10, 10]
    np.testing.assert_array_equal(output, np.array(FIRST, np.float32))


def test_the_same_forest_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(forest(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def put(name, place, value):
    """The forest with one number of an array changed."""

    def change(given):
        array = getattr(given, name).copy()
        array[place] = value
        return replace(given, **{name: array})

    return change


def say(**more):
    return lambda given: replace(given, about=replace(given.about, **more))


def other(signature):
    return lambda given: replace(given, about=replace(given.about, signature=signature))


HOSTILE = {
    "a child far behind the end": ("children", put("children", 0, 2**31 - 2)),
    "a child just behind the end": ("children", put("children", 0, 154)),
    "a child before the beginning": ("children", put("children", 0, -5)),
    "a node that is its own child": ("children", put("children", 1, 1)),
    "a circle": ("children", put("children", 3, 0)),
    "two ways to a node": ("children", put("children", 1, 5)),
    "a way into another tree": ("children", put("children", 0, 32)),
    "a leaf that leads on": ("children", put("children", 30, 0)),
    "a leaf that is not there": ("leaves", put("leaves", 30, 80)),
    "a leaf below zero": ("leaves", put("leaves", 30, -2)),
    "no leaf at the end": ("children", put("leaves", 30, -1)),
    "a feature that is not there": ("features", put("features", 0, WIDTH)),
    "a feature below zero": ("features", put("features", 0, -1)),
    "a root that is not there": ("roots", put("roots", 0, 155)),
    "a root twice": ("children", put("roots", 0, 31)),
    "a target that is not there": ("targets", put("targets", 0, 2)),
    "a mark that is none": ("missing_right", put("missing_right", 0, 2)),
    "no trees": ("children", lambda given: replace(given, roots=np.empty(0, "i4"))),
    "fewer features than nodes": (
        "features",
        lambda given: replace(given, features=given.features[:-1]),
    ),
    "values for other sums": (
        "values",
        lambda given: replace(given, values=np.zeros((80, 3), "f4")),
    ),
    "fewer targets than trees": (
        "targets",
        lambda given: replace(given, targets=np.zeros(1, "i4")),
    ),
    "more sums than labels": ("labels", lambda given: replace(given, base=np.zeros(3, "f4"))),
    "fewer labels": ("labels", say(labels=(1,))),
    "labels of two kinds": ("labels", say(labels=(1, "a"))),
    "a label too large": ("labels", say(labels=(1, 2**63))),
    "another ending": ("labels", say(ending=Ending.SCORE)),
    "a pair of two sums": ("base", say(ending=Ending.BINARY)),
    "a width below": ("signature", say(width=4)),
    "no width": ("base", say(width=0)),
    "a scale of other columns": (
        "before",
        say(before=(Change(Before.SCALE, offset=(1.0, 2.0), factor=(1.0,)),)),
    ),
    "an output of nobody's": ("signature", say(output="other")),
    "a later version": ("version", say(version=2)),
    "an input too many": (
        "signature",
        other(Signature((*SIGNATURE.inputs, *SIGNATURE.inputs), SIGNATURE.outputs)),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_lead_the_kernel_astray_is_refused(tmp_path, what):
    field, change = HOSTILE[what]
    write(change(forest()), tmp_path / FILE)
    with pytest.raises(InvalidError) as caught:
        load(tmp_path)
    assert caught.value.field == field
    assert one_line(caught.value)


def pack(path, change, kind=zipfile.ZIP_STORED):
    """The file's members, changed by name, packed again."""
    with zipfile.ZipFile(path) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", kind) as packed:
        for name, data in members.items():
            packed.writestr(name, data)


HUGE = (b"(5,), }" + b" " * 11, b"(999999999999,), }")  # four terabytes


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("leaves.npy"),
        lambda members: members.update({"more.npy": members["leaves.npy"]}),
        lambda members: members.update({"leaves.npy": members["thresholds.npy"]}),
        lambda members: members.update({"about.npy": members["thresholds.npy"]}),
        lambda members: members.update({"roots.npy": b"\x80\x04\x95 a pickle"}),
        lambda members: members.update({"roots.npy": members["roots.npy"].replace(*HUGE)}),
        lambda members: members.update(
            {"roots.npy": members["roots.npy"].replace(b"'<i4'", b"'|O' ")}
        ),
    ],
)
def test_members_that_are_none_are_refused(tmp_path, change):
    write(forest(), tmp_path / FILE)
    pack(tmp_path / FILE, change)
    with pytest.raises(InvalidError) as caught:
        load(tmp_path)
    assert one_line(caught.value)


def test_a_compressed_file_is_refused_before_it_grows(tmp_path):
    write(forest(), tmp_path / FILE)
    pack(tmp_path / FILE, lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidError, match="compressed"):
        load(tmp_path)


def test_a_deep_tree_is_followed_and_a_bottomless_one_refused(tmp_path):
    """A chain: each right child goes on."""

    def chain(depth):
        nodes = 2 * depth + 1
        place = np.arange(nodes)
        inner = (place % 2 == 0) & (place < nodes - 1)
        return replace(
            forest(1, 1),
            thresholds=np.zeros(nodes, "f4"),
            features=np.zeros(nodes, "i4"),
            missing_right=np.zeros(nodes, "u1"),
            children=np.where(inner, place + 1, place).astype("i4"),
            leaves=np.where(inner, -1, place // 2).astype("i4"),
            values=np.arange(nodes, dtype="f4")[:, None],
            roots=np.zeros(1, "i4"),
        )

    write(chain(3000), tmp_path / FILE)
    session = load(tmp_path)
    for count in (1, 40):
        output = session.infer({"x": np.ones((count, WIDTH), "f4")})[1]
        np.testing.assert_array_equal(output[:, 0], np.full(count, 3000))
    write(chain(5000), tmp_path / FILE)
    with pytest.raises(InvalidError, match="deeper"):
        load(tmp_path)
