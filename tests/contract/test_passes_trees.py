"""The pass `trees`: its contract, its answers beside onnxruntime's bit by bit, what it refuses."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Layout, Signature
from modelworks.ext.formats import trees_file as file
from modelworks.ext.importers.forest import Columns, Kind, Link, Task
from modelworks.plugins.load import load
from modelworks.testing.passes import PassCase, PassContract, PassSource
from tree_models import WIDTH, drawn, onnx_folder, rows

pytestmark = pytest.mark.contract
SOFTMAX = Task(Kind.SOFTMAX, (0.1, -0.2, 0.0), (0, 1, 2))
COUNTS = (1, 2, 7, 20, 21, 32, 33, 70)
TASKS = {
    "score": Task(Kind.SCORE, (0.5,)),
    "three scores": Task(Kind.SCORE, (0.5, 0.0, -1.0)),
    **{link.value: Task(Kind.SCORE, (0.1,), link=link) for link in Link},
    "binary": Task(Kind.BINARY, (0.1,), (3, 7)),
    "binary raw": Task(Kind.BINARY, (0.1,), ("no", "yes"), raw=True),
    "softmax": SOFTMAX,
    "softmax raw": Task(Kind.SOFTMAX, (0.0, 0.0, 0.0), ("a", "b", "é"), raw=True),
    "one against all": Task(Kind.ONE_VS_ALL, (0.0, 0.1, 0.2), ("a", "b", "c")),
    "one against all raw": Task(Kind.ONE_VS_ALL, (0.0, 0.1, 0.2), (5, 6, 9), raw=True),
}


def source(folder, signature):
    return PassSource(folder, "onnx", signature)


def case_of(folder, signature, **more):
    return PassCase(
        name="trees",
        good=source(folder, signature),
        inputs=lambda count: {signature.inputs[0].name: rows(count, 3)},
        tolerance=0.0,
        others={},
        unfit=more.get("unfit"),
        broken=more.get("broken", {}),
        alone=0.0,
        modules=("onnx",),
    )


def both(folder, signature, into):
    """Sessions of onnxruntime and of the kernel."""
    case_of(folder, signature).apply(into)
    options = EngineOptions(signature=signature)
    return (
        load("engines", "onnxruntime")().load(folder, options),
        load("engines", "trees")().load(into, options),
    )


def same(folder, signature, into, given=None, near=0.0):
    """Every answer is onnxruntime's, bit by bit, whatever the number of rows."""
    first, second = both(folder, signature, into)
    for count in COUNTS:
        inputs = given(count) if given else {signature.inputs[0].name: rows(count, count)}
        wanted = first.infer(inputs)
        for one in (second, second.reusing()):
            for left, right in zip(wanted, one.infer(inputs), strict=True):
                assert left.dtype == right.dtype
                if near and left.dtype.kind == "f":
                    np.testing.assert_allclose(left, right, rtol=near, atol=2**-23)
                else:
                    np.testing.assert_array_equal(left, right)
    first.close()
    second.close()


def changed(folder, change):
    """Its graph, changed."""
    model = onnx.load(folder / "model.onnx")
    change(model.graph)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def trees_of(graph):
    return next(node for node in graph.node if node.op_type.startswith("TreeEnsemble"))


def reset(graph, name, value):
    node = trees_of(graph)
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


class TestTreesPass(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        place = tmp_path_factory.mktemp("trees")
        folder, signature = onnx_folder(place / "good", SOFTMAX)
        columns = Columns(WIDTH, categorical=(True,) + (False,) * (WIDTH - 1))
        unfit = onnx_folder(place / "unfit", SOFTMAX, columns=columns)
        circle, _ = onnx_folder(place / "circle", SOFTMAX)
        changed(circle, lambda graph: reset(graph, "nodes_falsenodeids", [0] * _count(circle)))
        return case_of(
            folder,
            signature,
            unfit=source(*unfit),
            broken={"circle": source(circle, signature)},
        )


def _count(folder):
    return len(drawn(3).splits["treeids"])


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_is_the_one_of_onnxruntime(tmp_path, name):
    task = TASKS[name]
    forest = drawn(len(task.base), 40, seed=len(name))
    near = name in {"exp", "sigmoid", "softplus", "one against all"}  # its functions are its own
    same(*onnx_folder(tmp_path / "onnx", task, forest), tmp_path, near=1e-6 if near else 0)


@pytest.mark.parametrize("mode", ["BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
def test_every_way_to_ask_is_the_one_of_onnxruntime(tmp_path, mode):
    same(*onnx_folder(tmp_path / "onnx", SOFTMAX, drawn(3, 40, mode=mode)), tmp_path)


def test_each_class_through_the_logistic_function(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    changed(folder, lambda graph: reset(graph, "post_transform", "LOGISTIC"))
    same(folder, signature, tmp_path)


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes")])
def test_shares_of_two_classes_are_the_ones_of_onnxruntime(tmp_path, labels):
    task = Task(Kind.BINARY, (0.0,), labels, raw=True)
    forest = drawn(1, 20, share=True)
    folder, signature = onnx_folder(tmp_path / "onnx", task, forest)
    nudged = trees_of(onnx.load(folder / "model.onnx").graph)
    weights = next(one.floats for one in nudged.attribute if one.name == "class_weights")
    positive = [max(0.0, weight) for weight in weights]
    changed(folder, lambda graph: reset(graph, "class_weights", positive))
    same(folder, signature, tmp_path)


def test_leaves_with_a_value_a_class_are_added_as_onnxruntime_adds_them(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX, drawn(3, 40))

    def widen(graph):
        node = trees_of(graph)
        found = {one.name: list(helper.get_attribute_value(one)) for one in node.attribute
                 if one.name.startswith("class_")}  # fmt: skip
        for name in ("class_treeids", "class_nodeids"):
            reset(graph, name, [one for one in found[name] for _ in range(3)])
        reset(graph, "class_ids", [0, 1, 2] * len(found["class_ids"]))
        reset(graph, "class_weights", [w / k for w in found["class_weights"] for k in (1, 2, 3)])

    same(changed(folder, widen), signature, tmp_path)


def test_a_mean_of_trees_is_the_one_of_onnxruntime(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", TASKS["score"], drawn(1, 16))
    changed(folder, lambda graph: reset(graph, "aggregate_function", "AVERAGE"))
    same(folder, signature, tmp_path)  # of 16 trees: the division rounds nothing


def test_rows_of_columns_with_a_mark_for_what_is_missing(tmp_path):
    names = tuple("abcdef")
    columns = Columns(WIDTH, names, Layout.COLUMNS, missing=0.5)
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX, columns=columns)

    def given(count):
        return {name: rows(count, count)[:, i : i + 1] for i, name in enumerate(names)}

    same(folder, signature, tmp_path, given)


def test_a_mark_in_a_matrix_is_missing_and_the_rows_given_stay(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX, columns=Columns(WIDTH, missing=0.5))
    same(folder, signature, tmp_path)
    session = both(folder, signature, tmp_path)[1]
    for count in (3, 50):
        x = rows(count)
        session.infer({"X": x})
        np.testing.assert_array_equal(x, rows(count))


@pytest.mark.parametrize("name", ["softmax", "binary", "score", "exp", "one against all"])
def test_trees_of_float64_keep_it(tmp_path, name):
    """Thresholds that are one number in float32: rows between them go different ways."""
    task = TASKS[name]
    forest = drawn(len(task.base), 30)
    for i, value in enumerate(forest.splits["values"]):
        forest.splits["values"][i] = value + 1 + (i % 7) * 1e-10
    columns = Columns(WIDTH, double=True)
    folder, signature = onnx_folder(tmp_path / "onnx", task, forest, columns)

    def given(count):
        numbers = np.random.default_rng(count)
        x = numbers.choice([1.0, 1.5, np.nan], (count, WIDTH))
        return {"X": x + numbers.integers(0, 9, x.shape) * 1e-10}

    same(folder, signature, tmp_path, given, near=1e-6)
    ours = both(folder, signature, tmp_path)[1]
    x = given(70)["X"]
    blurred = x.astype(np.float32).astype(np.float64)
    assert (ours.infer({"X": x})[-1] != ours.infer({"X": blurred})[-1]).any()


def test_a_scale_before_the_trees(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)

    def scale(graph):
        numbers = np.random.default_rng(1)
        offset, factor = (numbers.uniform(0.5, 2, WIDTH).astype("f4") for _ in range(2))
        node = helper.make_node(
            "Scaler", ["X"], ["scaled"], domain="ai.onnx.ml", offset=offset, scale=factor
        )
        trees_of(graph).input[0] = "scaled"
        graph.node.insert(0, node)

    same(changed(folder, scale), signature, tmp_path)


def _columns(graph, *, order=None):
    """As a pipeline of named columns begins: each for itself, and side by side again."""
    names = [f"column{place}" for place in range(WIDTH)]
    widths = numpy_helper.from_array(np.ones(WIDTH, np.int64), "widths")
    graph.initializer.append(widths)
    joined = [names[place] for place in order or range(WIDTH)]
    trees_of(graph).input[0] = "joined"
    graph.node.insert(0, helper.make_node("Concat", joined, ["joined"], axis=1))
    graph.node.insert(0, helper.make_node("Split", ["X", "widths"], names, axis=1))


def test_columns_that_are_taken_apart_and_joined_again(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    same(changed(folder, _columns), signature, tmp_path)


def _mixed(graph, mode):
    modes = list(next(o for o in trees_of(graph).attribute if o.name == "nodes_modes").strings)
    modes[modes.index(b"BRANCH_LEQ")] = mode.encode()
    return modes


def _after(graph, kind):
    graph.node.append(helper.make_node(kind, ["probabilities"], ["best"]))


def _before(graph, kind):
    graph.node.insert(0, helper.make_node(kind, ["X"], ["other"]))
    trees_of(graph).input[0] = "other"


def _double(graph):
    node = trees_of(graph)
    values = next(one for one in node.attribute if one.name == "nodes_values")
    reset(graph, "nodes_values_as_tensor", numpy_helper.from_array(np.array(values.floats), "v"))
    kept = [one for one in node.attribute if one.name != "nodes_values"]
    del node.attribute[:]
    node.attribute.extend(kept)


def _twice(graph):
    graph.node.append(trees_of(graph))
    graph.node[-1].output[:] = ["other label", "other probabilities"]


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("category", lambda graph: reset(graph, "nodes_modes", _mixed(graph, "BRANCH_EQ"))),
        ("several kinds", lambda graph: reset(graph, "nodes_modes", _mixed(graph, "BRANCH_LT"))),
        ("PROBIT", lambda graph: reset(graph, "post_transform", "PROBIT")),
        ("ArgMax", lambda graph: _after(graph, "ArgMax")),
        ("Neg", lambda graph: _before(graph, "Neg")),
        ("Split", lambda graph: _columns(graph, order=[1, 0, *range(2, WIDTH)])),
        ("not one", _twice),
        ("another precision", _double),
    ],
)
def test_what_the_kernel_does_not_do_is_named(tmp_path, said, change):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    case = case_of(changed(folder, change), signature)
    assert said in case.step.fits(case.job(tmp_path / "into"))
    with pytest.raises(ModelworksError, match=said):
        case.apply(tmp_path / "into")
    assert not list((tmp_path / "into").iterdir())


@pytest.mark.parametrize("count", [0, -1, 2**62])
def test_a_number_of_sums_that_cannot_be_is_refused(tmp_path, count):
    folder, signature = onnx_folder(tmp_path / "onnx", TASKS["score"])
    changed(folder, lambda graph: reset(graph, "n_targets", count))
    with pytest.raises(InvalidError, match="sums"):
        case_of(folder, signature).apply(tmp_path / "into")


def test_trees_that_are_joined_otherwise_are_named(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", TASKS["score"])
    changed(folder, lambda graph: reset(graph, "aggregate_function", "MIN"))
    with pytest.raises(UnsupportedError, match="MIN"):
        case_of(folder, signature).apply(tmp_path / "into")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodes_truenodeids", [10**6]),
        ("nodes_nodeids", [0, 0]),
        ("nodes_values", [1.0]),
        ("nodes_treeids", [-1]),
        ("class_nodeids", [10**6]),
        ("class_ids", [3]),
        ("class_weights", [1.0]),
    ],
)
def test_damaged_trees_are_told(tmp_path, name, value):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)

    def damage(graph):
        kept = helper.get_attribute_value(
            next(o for o in trees_of(graph).attribute if o.name == name)
        )
        short = len(value) == 1 and isinstance(value[0], float)
        reset(graph, name, value if short else [*value, *kept[len(value) :]])

    case = case_of(changed(folder, damage), signature)
    assert "damaged" in case.step.fits(case.job(tmp_path / "into"))
    with pytest.raises(InvalidError, match="damaged"):
        case.apply(tmp_path / "into")


def fifth(folder, mode="BRANCH_LEQ"):
    """A forest as the operator TreeEnsemble; leaves are listed apart, the last node first."""
    forest = drawn(2, 12, mode=mode)
    forest.leaves, forest.splits = dict(forest.leaves), dict(forest.splits)
    keys = list(zip(forest.splits["treeids"], forest.splits["nodeids"], strict=True))
    leaf = [mode == "LEAF" for mode in forest.splits["modes"]]
    inner = [key for key, end in zip(keys, leaf, strict=True) if not end][::-1]
    ends = list(zip(forest.leaves["treeids"], forest.leaves["nodeids"], strict=True))
    at = {key: i for i, key in enumerate(keys)}
    number = {key: i for i, key in enumerate(inner)} | {key: i for i, key in enumerate(ends)}
    # A tree that is one leaf is a node whose answers lead to the same leaf.
    alone = [key for key in ends if key[1] == 0]
    rows = [at[key] for key in inner]
    column = lambda name: [forest.splits[name][row] for row in rows]  # noqa: E731
    sides = {}
    for side in ("true", "false"):
        to = [(keys[row][0], forest.splits[f"{side}nodeids"][row]) for row in rows] + alone
        sides[f"nodes_{side}nodeids"] = [number[key] for key in to]
        sides[f"nodes_{side}leafs"] = [int(leaf[at[key]]) for key in to]
    spare = [0] * len(alone)
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"].index(mode)
    tensors = {
        "nodes_modes": np.full(len(rows) + len(alone), modes, np.uint8),
        "nodes_splits": np.array(column("values") + spare, np.float32),
        "leaf_weights": np.array(forest.leaves["weights"], np.float32),
    }
    roots = [number[tree, 0] for tree in range(12) if (tree, 0) not in alone]
    node = helper.make_node(
        "TreeEnsemble",
        ["X"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=2,
        nodes_featureids=column("featureids") + spare,
        nodes_missing_value_tracks_true=column("missing_value_tracks_true") + spare,
        leaf_targetids=forest.leaves["ids"],
        tree_roots=[*roots, *range(len(rows), len(rows) + len(alone))],
        **sides,
        **{name: numpy_helper.from_array(value, name) for name, value in tensors.items()},
    )
    _, signature = onnx_folder(folder, Task(Kind.SCORE, (0.0, 0.0)))
    model = onnx.load(folder / "model.onnx")
    del model.graph.node[:]
    model.graph.node.append(node)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder, signature


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_GTE"])
def test_the_later_operator_is_read_as_well(tmp_path, mode):
    same(*fifth(tmp_path / "onnx", mode), tmp_path)


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("damaged", "nodes_truenodeids", 10**6),
        ("damaged", "nodes_falsenodeids", -1),
        ("damaged", "tree_roots", 10**6),
        ("damaged", "tree_roots", None),
        ("category", "nodes_modes", 4),
        ("category", "nodes_modes", 6),
        ("damaged", "nodes_modes", 9),
        ("damaged", "nodes_trueleafs", None),
    ],
)
def test_the_later_operator_damaged_is_told(tmp_path, said, name, value):
    folder, signature = fifth(tmp_path / "onnx")

    def damage(graph):
        held = next(one for one in trees_of(graph).attribute if one.name == name)
        kept = helper.get_attribute_value(held)
        if isinstance(kept, onnx.TensorProto):
            array = numpy_helper.to_array(kept).copy()
            array[0] = value
            reset(graph, name, numpy_helper.from_array(array, name))
        else:
            reset(graph, name, kept[:-1] if value is None else [value, *kept[1:]])

    case = case_of(changed(folder, damage), signature)
    with pytest.raises(ModelworksError, match=said):
        case.apply(tmp_path / "into")


def test_a_circle_beside_the_trees_is_told(tmp_path):
    """Two nodes that lead to each other, come to by none."""
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)

    def circle(graph):
        for name, new in (
            ("nodes_treeids", [0, 0]),
            ("nodes_nodeids", [900, 901]),
            ("nodes_featureids", [0, 0]),
            ("nodes_modes", [b"BRANCH_LEQ"] * 2),
            ("nodes_values", [0.0, 0.0]),
            ("nodes_truenodeids", [901, 900]),
            ("nodes_falsenodeids", [901, 900]),
            ("nodes_missing_value_tracks_true", [0, 0]),
        ):
            held = next(one for one in trees_of(graph).attribute if one.name == name)
            reset(graph, name, [*helper.get_attribute_value(held), *new])

    case = case_of(changed(folder, circle), signature)
    with pytest.raises(InvalidError, match="two ways"):
        case.apply(tmp_path / "into")


def test_an_output_that_is_not_asked_for_may_be_left_out(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    case_of(folder, signature).apply(tmp_path / "into")
    less = Signature(signature.inputs, signature.outputs[1:])
    session = load("engines", "trees")().load(tmp_path / "into", EngineOptions(signature=less))
    [found] = session.infer({"X": rows(3)})
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_the_file_holds_no_more_than_numbers(tmp_path):
    case_of(*onnx_folder(tmp_path / "onnx", SOFTMAX)).apply(tmp_path / "into")
    assert [one.name for one in (tmp_path / "into").iterdir()] == [file.FILE]
    with np.load(tmp_path / "into" / file.FILE, allow_pickle=False) as found:
        assert all(found[name].dtype.kind in "iuf" for name in found.files)


def test_an_output_of_float64_is_refused(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    label, numbers = signature.outputs
    wide = replace(signature, outputs=(label, replace(numbers, datatype=Datatype.FP64)))
    with pytest.raises(UnsupportedError, match="float32"):
        case_of(folder, wide).apply(tmp_path / "into")


def test_a_width_that_nobody_knows_is_refused(tmp_path):
    folder, signature = onnx_folder(tmp_path / "onnx", SOFTMAX)
    free = replace(signature, inputs=(replace(signature.inputs[0], shape=(None, None)),))
    with pytest.raises(UnsupportedError, match="any width"):
        case_of(folder, free).apply(tmp_path / "into")
