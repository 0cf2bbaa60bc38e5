"""Exact values of trees: against enumeration, against shap, and what is refused."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.ext.explainers.permutation import PermutationExplainer
from modelworks.ext.explainers.trees import TreesExplainer

KNOWN = json.loads(Path("tests/data/explainers/shap.json").read_text())["cases"]


def save(path, trees, *, offset=0.0, width=9, extra=(), inputs=("x",), **attributes):
    """Trees of arrays (feature, threshold, left, right, value) as a TreeEnsembleRegressor."""
    found = {key: [] for key in ("tree", "node", "feature", "value", "mode", "yes", "no")}
    leaf = {key: [] for key in ("tree", "node", "weight")}
    for number, tree in enumerate(trees):
        for node, left in enumerate(tree["left"]):
            inner = left >= 0
            found["tree"].append(number)
            found["node"].append(node)
            found["feature"].append(tree["feature"][node])
            found["value"].append(tree["threshold"][node])
            found["mode"].append(tree.get("mode", "BRANCH_LEQ") if inner else "LEAF")
            found["yes"].append(left if inner else 0)
            found["no"].append(tree["right"][node] if inner else 0)
            if not inner:
                leaf["tree"].append(number)
                leaf["node"].append(node)
                leaf["weight"].append(tree["value"][node])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["scaled" if extra else "x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_treeids=found["tree"],
        nodes_nodeids=found["node"],
        nodes_featureids=found["feature"],
        nodes_values=found["value"],
        nodes_modes=found["mode"],
        nodes_truenodeids=found["yes"],
        nodes_falsenodeids=found["no"],
        target_treeids=leaf["tree"],
        target_nodeids=leaf["node"],
        target_ids=[0] * len(leaf["tree"]),
        target_weights=leaf["weight"],
        n_targets=1,
        base_values=[offset],
        **attributes,
    )
    graph = helper.make_graph(
        [*extra, node],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width // len(inputs)])
            for name in inputs
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    session = onnxruntime.InferenceSession(path)

    def predict(rows):
        parts = np.split(np.asarray(rows, np.float32), len(inputs), axis=1)
        return session.run(None, dict(zip(inputs, parts, strict=True)))[0][:, 0]

    return predict


def grown(rng, depth, width, mode="BRANCH_LEQ"):
    """A full random tree."""
    count = 2 ** (depth + 1) - 1
    first = 2**depth - 1
    return {
        "feature": rng.integers(0, width, count).tolist(),
        "threshold": rng.normal(size=count).astype(np.float32).astype(float).tolist(),
        "left": [2 * i + 1 if i < first else -1 for i in range(count)],
        "right": [2 * i + 2 if i < first else -1 for i in range(count)],
        "value": rng.normal(size=count).tolist(),
        "mode": mode,
    }


def exact(predict, rows, background):
    options = {"samples": len(background) << rows.shape[1]}
    return PermutationExplainer().explain(predict, rows, background, options)


@pytest.mark.parametrize("known", KNOWN, ids=[known["name"] for known in KNOWN])
def test_the_values_are_those_of_shap(known, tmp_path):
    path = tmp_path / "model.onnx"
    predict = save(path, known["trees"], offset=known["offset"])
    found = TreesExplainer().explain(
        predict, known["rows"], known["background"], {"artifact": path}
    )
    assert found.base == pytest.approx(known["base"], abs=1e-6)
    assert found.values == pytest.approx(np.array(known["values"]), abs=1e-6)
    assert found.error is None


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
@pytest.mark.parametrize("depth", [1, 4, 8])
def test_equals_the_enumeration_of_all_coalitions(mode, depth, tmp_path):
    rng = np.random.default_rng(depth)
    path = tmp_path / "model.onnx"
    predict = save(path, [grown(rng, depth, 9, mode) for _ in range(3)])
    rows, background = rng.normal(size=(3, 9)), rng.normal(size=(7, 9))
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)
    assert np.abs(found.values).max() > 0.01


def test_equal_is_a_test_too(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "model.onnx"
    trees = [grown(rng, 3, 4, "BRANCH_EQ") for _ in range(4)]
    for tree in trees:
        tree["threshold"] = rng.integers(0, 3, len(tree["threshold"])).astype(float).tolist()
    predict = save(path, trees, width=4)
    rows, background = (rng.integers(0, 3, (n, 4)).astype(float) for n in (5, 8))
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)


def test_missing_values_go_where_the_tree_says(tmp_path):
    rng = np.random.default_rng(2)
    path = tmp_path / "model.onnx"
    trees = [grown(rng, 4, 5) for _ in range(3)]
    count = sum(len(tree["left"]) for tree in trees)
    lost = (rng.random(count) < 0.5).astype(int).tolist()
    predict = save(path, trees, width=5, nodes_missing_value_tracks_true=lost)
    rows, background = rng.normal(size=(6, 5)), rng.normal(size=(9, 5))
    rows[rng.random(rows.shape) < 0.4] = np.nan
    background[rng.random(background.shape) < 0.4] = np.nan
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)


def test_a_scaler_before_the_trees_is_followed(tmp_path):
    rng = np.random.default_rng(3)
    path = tmp_path / "model.onnx"
    scaler = helper.make_node(
        "Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[1.0] * 5, scale=[0.25] * 5
    )
    predict = save(path, [grown(rng, 4, 5)], width=5, extra=(scaler,))
    rows, background = 4 * rng.normal(size=(6, 5)), 4 * rng.normal(size=(9, 5))
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)


def test_average_is_not_the_sum(tmp_path):
    rng = np.random.default_rng(4)
    path = tmp_path / "model.onnx"
    trees = [grown(rng, 3, 5) for _ in range(4)]
    predict = save(path, trees, width=5, offset=2.0, aggregate_function="AVERAGE")
    rows, background = rng.normal(size=(6, 5)), rng.normal(size=(9, 5))
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)
    assert found.values.sum(axis=1) + found.base == pytest.approx(predict(rows), abs=1e-5)


def test_what_the_trees_do_not_say_is_refused(tmp_path):
    rng = np.random.default_rng(6)
    path = tmp_path / "model.onnx"
    predict = save(path, [grown(rng, 3, 5)], width=5)
    rows = rng.normal(size=(4, 5))
    with pytest.raises(UnsupportedError, match="something else stands behind"):
        TreesExplainer().explain(lambda x: predict(x) ** 2 + 1, rows, rows, {"artifact": path})


def test_unknown_aggregations_are_refused(tmp_path):
    rng = np.random.default_rng(6)
    path = tmp_path / "model.onnx"
    predict = save(path, [grown(rng, 3, 5)], width=5, aggregate_function="MAX")
    rows = rng.normal(size=(4, 5))
    with pytest.raises(UnsupportedError, match="joined by MAX"):
        TreesExplainer().explain(predict, rows, rows, {"artifact": path})


def test_another_graph_is_refused_with_its_reason(tmp_path):
    rng = np.random.default_rng(7)
    path = tmp_path / "model.onnx"
    relu = helper.make_node("Abs", ["x"], ["scaled"])
    predict = save(path, [grown(rng, 3, 5)], width=5, extra=(relu,))
    rows = rng.normal(size=(4, 5))
    with pytest.raises(UnsupportedError, match="Abs stands before TreeEnsembleRegressor"):
        TreesExplainer().explain(predict, rows, rows, {"artifact": path})
    with pytest.raises(UnsupportedError, match="not at hand"):
        TreesExplainer().explain(predict, rows, rows, {})
    path.write_bytes(b"no model")
    with pytest.raises(InvalidError, match="no ONNX model"):
        TreesExplainer().explain(predict, rows, rows, {"artifact": path})


def test_trees_behind_columns_in_another_order(tmp_path):
    rng = np.random.default_rng(8)
    path = tmp_path / "model.onnx"
    tree = grown(rng, 4, 3)
    names = ("a", "b", "c")
    concat = helper.make_node("Concat", ["c", "a", "b"], ["scaled"], axis=1)
    predict = save(path, [tree], width=3, extra=(concat,), inputs=names)
    rows, background = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    found = TreesExplainer().explain(predict, rows, background, {"artifact": path})
    assert found.values == pytest.approx(exact(predict, rows, background).values, abs=1e-5)
    assert np.abs(found.values).max() > 0.01


def test_a_tree_that_asks_beyond_the_features_is_refused(tmp_path):
    rng = np.random.default_rng(9)
    path = tmp_path / "model.onnx"
    save(path, [grown(rng, 4, 9)], width=9)
    rows = rng.normal(size=(4, 3))
    with pytest.raises(UnsupportedError, match="features"):
        TreesExplainer().explain(lambda x: x[:, 0], rows, rows, {"artifact": path})
