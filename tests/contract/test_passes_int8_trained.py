"""Int8 that is taught: the contract on a small CNN, and rounding as ONNX Runtime does it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.ext.passes import onnx_qdq as qdq
from modelworks.testing import pass_models
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassCase, PassContract
from students import labelled

pytestmark = [pytest.mark.contract, pytest.mark.real]
MODULES = ("onnx", "onnxruntime.quantization", "torch")


def unknown(folder):
    """A net with an operator that is not translated."""
    source = pass_models.cnn(folder, channels=16)
    model = onnx.load(folder / "model.onnx")
    next(node for node in model.graph.node if node.name == "relu1").op_type = "ThresholdedRelu"
    onnx.save(model, folder / "model.onnx")
    return source


def endless(folder):
    """A net whose answers are NaN."""
    source = pass_models.cnn(folder, channels=16)
    model = onnx.load(folder / "model.onnx")
    bias = next(one for one in model.graph.initializer if one.name == "b3")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(10, np.nan, "f4"), "b3"))
    onnx.save(model, folder / "model.onnx")
    return source


class TestInt8Trained(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("trained")
        return PassCase(
            name="int8_trained",
            good=labelled(pass_models.cnn(folder / "good", channels=16)),
            inputs=pass_models.image_rows,
            tolerance=0.5,
            settings={"steps": 8},
            others={
                "steps": {"steps": 12},
                "rate": {"rate": 5e-4},
                "ranges": {"ranges": "seen"},
                "temperature": {"temperature": 1.0},
                "alpha": {"alpha": 0.1},
                "first": {"first": 1},
                "per_channel": {"per_channel": False},
            },
            unfit=pass_models.attention(folder / "attention"),
            broken={
                "an operator that is not translated": unknown(folder / "unknown"),
                "answers of NaN": endless(folder / "endless"),
            },
            modules=MODULES,
        )

    def test_without_weights_to_speak_of_it_is_left_alone(self, case, tmp_path):
        small = pass_models.mlp(tmp_path / "small", widths=(), classes=2)
        assert "to speak of" in case.step.fits(case.job(tmp_path / "into", small))

    def test_what_is_in_eight_bits_is_left_alone(self, case, applied, tmp_path):
        again = replace(case.good, folder=applied[0])
        assert "already" in case.step.fits(case.job(tmp_path, again))

    def test_attention_is_refused_beforehand(self, case, tmp_path):
        assert "nncf_int8" in case.step.fits(case.job(tmp_path, case.unfit))

    def test_numbers_that_overflow_in_training_are_told(self, case, tmp_path):
        model = onnx.load(case.good.folder / "model.onnx")
        for one in model.graph.initializer:
            if one.name in {"w0", "w1", "w2"}:
                wide = onnx.numpy_helper.to_array(one) * np.float32(1e9)
                one.CopyFrom(onnx.numpy_helper.from_array(wide, one.name))
        folder = tmp_path / "wide"
        folder.mkdir()
        onnx.save(model, folder / "model.onnx")
        with pytest.raises(CrashedError, match="overflowed"):
            case.apply(tmp_path / "into", replace(case.good, folder=folder), settings={"rate": 0.1})
        assert list((tmp_path / "into").iterdir()) == []

    def test_the_graph_is_that_of_int8_static(self, case, applied, tmp_path):
        """Other numbers in the same operators: so it is as fast."""
        static = PassCase("int8_static", case.good, None, 0, {}, None, {})
        static.apply(tmp_path)
        kinds = [
            [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]
            for folder in (tmp_path, applied[0])
        ]
        assert kinds[0] == kinds[1]

    def test_what_was_learned_is_what_was_written(self, case, applied, tmp_path):
        ranges = {one.tensor: one for one in qdq.rounded(onnx.load(applied[0] / "model.onnx"))}
        static = PassCase("int8_static", case.good, None, 0, {}, None, {})
        static.apply(tmp_path)
        before = {one.tensor: one for one in qdq.rounded(onnx.load(tmp_path / "model.onnx"))}
        assert ranges.keys() == before.keys()
        assert any(ranges[name].high != before[name].high for name in ranges)
        cut = [one for one in ranges.values() if before[one.tensor].low == 0]
        assert cut, "nothing stands behind a Relu"
        assert all(one.low == 0 for one in cut)


def test_a_range_rounds_as_onnx_runtime_does(tmp_path):
    from modelworks.ext.passes.training.rounding import Range

    source = pass_models.cnn(tmp_path / "cnn", channels=16)
    PassCase("int8_static", source, None, 0, {}, None, {}).apply(tmp_path / "into")
    model = onnx.load(tmp_path / "into" / "model.onnx")
    seen = next(one for one in qdq.rounded(model) if one.tensor == "logits")
    pair = next(
        n for n in model.graph.node if n.op_type == "DequantizeLinear" and "logits" in n.output
    )
    before = next(n for n in model.graph.node if pair.input[0] in n.output)
    values = np.random.default_rng(0).normal(size=(64, 10)).astype("f4") * 3 * seen.high
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    step, zero = (constants[name] for name in before.input[1:3])
    wanted = np.clip(np.round(values / step) + zero, 0, 255)
    wanted = (wanted - zero).astype("f4") * step
    got = Range(seen.low, seen.high, learned=True, grows=True)(torch.from_numpy(values))
    assert np.allclose(got.detach().numpy(), wanted, atol=float(step) * 1e-3)


def test_gradients_go_through_rounding_and_move_ends():
    from modelworks.ext.passes.training.rounding import Range

    both = Range(-1.0, 3.0, learned=True, grows=True)
    values = torch.tensor([[-2.0, -0.5, 0.2, 2.0, 9.0]], requires_grad=True)
    both(values).sum().backward()
    assert values.grad.tolist() == [[0, 1, 1, 1, 0]]
    low, high = both.turn.grad.tolist()
    assert low < 0 < high  # both further out: more is let through on either side
    fixed = Range(0.0, 3.0, learned=False, grows=False)
    fixed(values).sum().backward()
    assert fixed.turn.grad is None
    assert fixed.ends().tolist() == [0.0, 3.0]


def test_an_end_behind_a_cut_does_not_grow():
    from modelworks.ext.passes.training.rounding import Range

    held, free = (Range(0.0, 6.0, learned=True, grows=grows) for grows in (False, True))
    for one in (held, free):
        with torch.no_grad():
            one.turn += 0.5
    assert held.ends().tolist() == [0.0, 6.0]
    assert free.ends()[1] > 9


def test_weights_that_were_rounded_stay_as_they_are():
    from modelworks.ext.passes.training.rounding import Weights

    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype("f4"))
    for per_channel in (True, False):
        once = Weights(per_channel=per_channel)(weights)
        assert torch.allclose(Weights(per_channel=per_channel)(once), once, atol=1e-6)
        axes = (1, 2, 3) if per_channel else (0, 1, 2, 3)
        steps = weights.abs().amax(dim=axes, keepdim=True) / 127
        assert ((once - weights).abs() <= steps * 0.501).all()


def test_rows_too_few_and_weights_of_two_operators_are_refused(tmp_path):
    source = labelled(pass_models.mlp(tmp_path / "mlp", widths=(64, 64)))
    model = onnx.load(source.folder / "model.onnx")
    model.graph.node[2].input[1] = "w0"
    onnx.save(model, source.folder / "model.onnx")
    case = PassCase("int8_trained", source, None, 0, {}, None, {})
    with pytest.raises(UnsupportedError, match="shared by two operators"):
        case.apply(tmp_path / "shared")
    few = tmp_path / "few.npz"
    np.savez(few, **pass_models.matrix_rows(20))
    with pytest.raises(InvalidError, match="at least 32"):
        case.apply(tmp_path / "few", replace(source, calibration=few, labels=None))


def test_numbers_without_classes_are_taught_as_values(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp", widths=(64, 32), classes=3)
    case = PassCase("int8_trained", source, None, 0, {}, None, {})
    result = case.apply(tmp_path / "into", settings={"steps": 40})
    assert result.figures["cosine"] >= result.figures["cosine_untaught"] - 0.001
    rows = pass_models.matrix_rows(64, seed=9)
    wanted, got = (
        answers("onnxruntime", folder, source.signature, rows)[0]
        for folder in (source.folder, tmp_path / "into")
    )
    assert np.abs(wanted - got).mean() < 0.1 * np.abs(wanted).mean()
