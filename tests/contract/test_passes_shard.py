"""Cutting into stages: the contract, what crosses a cut, and the bits of the whole."""

import json
import shutil
from itertools import combinations, pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.ext.formats.onnx_model import read_graph
from modelworks.ext.formats.stages import Stages, read_stages, write_stages
from modelworks.ext.passes.shard import ShardPass
from modelworks.ext.passes.shard.choose import choose
from modelworks.ext.passes.shard.graph import Graph
from modelworks.testing import onnx_models as models
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase, PassContract
from properties import examples
from shards import cut

pytestmark = pytest.mark.contract


@pytest.mark.real
class TestShard(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("shard")
        return PassCase(
            name="shard",
            good=pass_models.mlp(folder / "good"),
            inputs=pass_models.matrix_rows,
            tolerance=0.0,
            settings={},
            others={"stages": {"stages": 3}, "by": {"by": "time"}, "same": {"same": "off"}},
            unfit=pass_models.mlp(folder / "unfit", widths=()),
            broken={},
            modules=("onnx", "onnxruntime"),
        )


def chained(folder, inputs):
    """The answers of an artifact's stages, one after the other, in this process."""
    values = None
    for stage in read_stages(folder).stages:
        session = OnnxRuntimeEngine().load(folder / stage.folder, EngineOptions())
        names = [spec.name for spec in stage.inputs]
        given = inputs if values is None else dict(zip(names, values, strict=True))
        assert [spec.name for spec in session.signature.inputs] == names
        values = session.infer(given)
        session.close()
    return values


def whole(folder, inputs):
    session = OnnxRuntimeEngine().load(folder, EngineOptions())
    found = session.infer(inputs)
    session.close()
    return found


def same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("by", ["bytes", "time"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (pass_models.mlp, pass_models.matrix_rows),
        (pass_models.cnn, pass_models.image_rows),
        (pass_models.bert, pass_models.token_rows),
        (pass_models.attention, pass_models.token_rows),
    ],
)
def test_stages_give_the_bits_of_the_whole(tmp_path, make, rows, count, by):
    source = make(tmp_path / "source").folder
    folder = cut(source, tmp_path / "cut", stages=count, by=by)
    assert len(read_stages(folder).stages) == count
    for seed in (1, 2):
        inputs = rows(5, seed=seed)
        same(chained(folder, inputs), whole(source, inputs))


def external(folder, layers=4, width=64):
    """Layers whose weights lie in two other files."""
    folder.mkdir()
    model = onnx.load(models.heavy(folder / "model.onnx", layers, width))
    for number, tensor in enumerate(model.graph.initializer):
        name = f"weights/part{number % 2}"
        data = tensor.raw_data
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        with file.open("ab") as to:
            place = to.tell()
            to.write(data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", place), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.mark.parametrize("by", ["bytes", "time"])
def test_weights_of_other_files_go_to_the_stage_that_reads_them(tmp_path, by):
    source = external(tmp_path / "source")
    folder = cut(source, tmp_path / "cut", stages=4, by=by)
    inputs = {"x": np.random.default_rng(0).random((3, 64), dtype=np.float32)}
    same(chained(folder, inputs), whole(source, inputs))
    sizes = [(folder / f"stage-{n}" / "model.onnx.data").stat().st_size for n in range(4)]
    assert sizes == [64 * 64 * 4] * 4
    assert not (folder / "weights").exists()


def test_weights_that_are_missing_or_elsewhere_are_named(tmp_path):
    source = external(tmp_path / "source")
    (source / "weights" / "part1").write_bytes(b"short")
    with pytest.raises(InvalidError, match="'w1' wants 16384 bytes"):
        cut(source, tmp_path / "short", same="off")
    (source / "weights" / "part1").unlink()
    with pytest.raises(InvalidError, match="'w1' lies in 'weights/part1'"):
        cut(source, tmp_path / "gone", same="off")
    (tmp_path / "secret").write_bytes(b"x" * 65536)
    (source / "weights" / "part1").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidError, match="no such file"):
        cut(source, tmp_path / "linked", same="off")


def branching(path):
    """An `If` whose branches read tensors and a weight of the graph around them, in its middle."""
    x, y = (models.info(name, Datatype.FP32, (None, 4)) for name in "xy")
    inner = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    then = helper.make_graph([helper.make_node("Add", ["h", "shared"], ["o"])], "then", [], [inner])
    other = helper.make_graph([helper.make_node("Mul", ["x", "h"], ["o"])], "other", [], [inner])
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        helper.make_node("ReduceSum", ["h"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["on"]),
        helper.make_node("If", ["on"], ["b"], then_branch=then, else_branch=other),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Add", ["c", "shared"], ["y"]),
    ]
    random = np.random.default_rng(3)
    constants = {f"w{n}": random.normal(size=(4, 4)).astype(np.float32) for n in range(2)}
    constants |= {"zero": np.float32(0), "shared": np.ones(4, np.float32)}
    models.write(path, nodes, [x], [y], constants)
    model = onnx.load(path)  # what a branch gives is known by nobody but its author
    shape = models.info("b", Datatype.FP32, (None, 4))
    model.graph.value_info.append(shape)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("sign", [1, -1])
def test_what_branches_read_of_the_graph_around_them_crosses_with_them(tmp_path, sign):
    branching(tmp_path / "model.onnx")
    folder = cut(tmp_path, tmp_path / "cut", stages=3, same="bits")
    inputs = {"x": sign * np.random.default_rng(1).random((3, 4), dtype=np.float32)}
    same(chained(folder, inputs), whole(tmp_path, inputs))


def early(path):
    """An output that is ready in the first half, an input that is read in the second alone."""
    x, z, y, half = (models.info(n, Datatype.FP32, (None, 4)) for n in ("x", "z", "y", "half"))
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["half"]),
        helper.make_node("Relu", ["half"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["a"]),
        helper.make_node("Add", ["a", "z"], ["y"]),
    ]
    random = np.random.default_rng(3)
    weights = {f"w{n}": random.normal(size=(4, 4)).astype(np.float32) for n in range(2)}
    return models.write(path, nodes, [x, z], [y, half], weights)


def test_early_outputs_and_late_inputs_are_handed_on(tmp_path):
    early(tmp_path / "model.onnx")
    folder = cut(tmp_path, tmp_path / "cut", stages=2)
    random = np.random.default_rng(1)
    inputs = {name: random.random((3, 4), dtype=np.float32) for name in "xz"}
    same(chained(folder, inputs), whole(tmp_path, inputs))
    stages = read_stages(folder)
    assert [spec.name for spec in stages.signature.inputs] == ["x", "z"]
    assert [spec.name for spec in stages.signature.outputs] == ["y", "half"]


def test_names_that_we_would_make_are_left_to_the_graph(tmp_path):
    x, y = (models.info(n, Datatype.FP32, (None, 4)) for n in "xy")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["x (handed on)"]),
        helper.make_node("MatMul", ["x (handed on)", "w"], ["k"]),
        helper.make_node("Add", ["k", "x"], ["y"]),
    ]
    weights = {"w": np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32)}
    models.write(tmp_path / "model.onnx", nodes, [x], [y], weights)
    folder = cut(tmp_path, tmp_path / "cut", stages=3)
    inputs = {"x": np.random.default_rng(1).random((3, 4), dtype=np.float32)}
    same(chained(folder, inputs), whole(tmp_path, inputs))


def test_every_cut_of_a_graph_gives_the_same_numbers(tmp_path):
    """Not only the good ones: what crosses is right wherever it is."""
    from modelworks.ext.passes.shard.write import Writer

    source = pass_models.bert(tmp_path / "bert").folder
    graph = Graph(read_graph(source))
    alive = graph.alive()
    inputs = pass_models.token_rows(3)
    wanted = whole(source, inputs)
    places = [p for p in range(1, len(graph.work)) if all(graph.spec(n) for n in alive[p])]
    assert len(places) > 20
    for place in places[:: len(places) // 12]:
        folder = tmp_path / f"at-{place}"
        folder.mkdir()
        writer = Writer(graph, source, alive)
        ends = ((0, place), (place, len(graph.work)))
        stages = [writer.stage(*one, folder / f"stage-{n}") for n, one in enumerate(ends)]
        write_stages(folder, Stages(tuple(stages)))
        for left, right in zip(chained(folder, inputs), wanted, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_text_crosses(tmp_path):
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Concat", ["a", "x"], ["b"], axis=1),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    x = models.info("x", Datatype.BYTES, (None, 2))
    models.write(tmp_path / "model.onnx", nodes, [x], [models.info("y", Datatype.BYTES, (None, 4))])
    folder = cut(tmp_path, tmp_path / "cut")
    inputs = {"x": np.array([["é".encode(), b""]], object)}
    same(chained(folder, inputs), whole(tmp_path, inputs))


def refused(tmp_path, change, kind=UnsupportedError, **settings):
    model = onnx.load(models.heavy(tmp_path / "model.onnx", layers=3, width=8))
    change(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(kind) as caught:
        cut(tmp_path, tmp_path / "cut", **settings)
    assert "\n" not in caught.value.message
    return caught.value.message


def sparse(model):
    values = numpy_helper.from_array(np.ones(1, np.float32), "thin")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "thin places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


def untyped(model):
    for node in model.graph.node[:-1]:
        node.domain = "nobody"
    model.opset_import.append(helper.make_opsetid("nobody", 1))


def test_what_no_cut_can_carry_is_named(tmp_path):
    for number, (change, told) in enumerate(
        ((sparse, "'thin' is stored sparse"), (untyped, "can be cut in 0 places"))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert told in refused(folder, change, same="off")


def test_more_stages_than_places_are_refused(tmp_path):
    assert "can be cut in 2 places" in refused(tmp_path, lambda _: None, stages=9)


def test_a_pass_says_before_whether_it_can(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp")
    settings = settled(ShardPass.facts, {"stages": 16})
    job = PassJob(source.folder, "onnx", tmp_path, Signature((), ()), settings)
    assert "15 are wanted" in ShardPass().fits(job)


def changed(data, **fields):
    return {**data, **fields}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: changed(d, version=2), "version 2"),
        (lambda d: changed(d, stages=[]), "0 stages"),
        (lambda d: changed(d, stages=d["stages"] * 20), "40 stages"),
        (lambda d: d, "is not what stage 1 takes"),
        (
            lambda d: changed(d, stages=[changed(d["stages"][0], folder="../x"), d["stages"][1]]),
            "a name of its own",
        ),
        (
            lambda d: changed(d, stages=[changed(d["stages"][0], format="stages"), d["stages"][1]]),
            "cut into stages itself",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path, change, told):
    models.heavy(tmp_path / "model.onnx", layers=2, width=8)
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.node.insert(0, helper.make_node("Unsqueeze", ["x", "one"], ["u"]))
    model.graph.node.insert(1, helper.make_node("Squeeze", ["u", "one"], ["s"]))
    model.graph.node[2].input[0] = "s"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    folder = cut(tmp_path, tmp_path / "cut")
    data = json.loads((folder / "stages.json").read_text())
    if "is not what" in told:
        data["stages"][0]["outputs"][0]["shape"] = [None, 3]
        data["stages"][1]["inputs"][0]["shape"] = [None, 4]
    (folder / "stages.json").write_text(json.dumps(change(data)))
    with pytest.raises(InvalidError, match=told):
        read_stages(folder)


COSTS = st.lists(st.floats(0, 100), min_size=2, max_size=14)


@examples(60)
@given(costs=COSTS, stages=st.integers(2, 5), data=st.data())
def test_no_other_cuts_have_a_smaller_largest_stage(costs, stages, data):
    every = range(1, len(costs))
    places = data.draw(st.sets(st.sampled_from(every), min_size=1)) if len(costs) > 2 else {1}

    def largest(cuts):
        ends = [0, *cuts, len(costs)]
        return max(sum(costs[a:b]) for a, b in pairwise(ends))

    against = dict.fromkeys(places, 0.0)
    if len(places) < stages - 1:
        with pytest.raises(UnsupportedError):
            choose(costs, against, stages)
        return
    cuts = choose(costs, against, stages, slack=0.0)
    assert list(cuts) == sorted(set(cuts) & places)
    best = min(largest(one) for one in combinations(sorted(places), stages - 1))
    assert largest(cuts) <= best + 1e-6


def test_of_cuts_that_are_as_good_the_cheapest_is_taken():
    assert choose([1.0] * 10, {4: 5.0, 5: 50.0, 6: 1.0}, 2, slack=0.3) == (6,)
    assert choose([1.0] * 10, {4: 5.0, 5: 50.0, 6: 1.0}, 2, slack=0.0) == (5,)


def test_thousands_of_places_are_thinned_and_still_even():
    [place] = choose([1.0] * 20_000, {p: float(p % 7) for p in range(1, 20_000)}, 2)
    assert abs(place - 10_000) < 2_000
    assert place % 7 == 0


def test_a_file_cut_short_is_told(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp").folder
    whole_file = (source / "model.onnx").read_bytes()
    broken = shutil.copytree(source, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(whole_file[: len(whole_file) // 2])
    with pytest.raises(InvalidError, match="damaged"):
        cut(broken, tmp_path / "cut")
