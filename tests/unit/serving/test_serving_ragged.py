"""Requests of different lengths in one call: proved, filled up, cut back; refused where not."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.ragged import Ragged, parse_ragged
from modelworks.core.served import ServedList, ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving import ragged as proving
from modelworks.serving.batcher import Member
from modelworks.serving.block import Block
from modelworks.serving.curve import Curve, Point
from modelworks.serving.entries import State
from modelworks.serving.loading import load_model
from modelworks.serving.models import ModelTable
from modelworks.serving.shapes import Padder, TextLengths, bucket, problem_of
from modelworks.testing import onnx_models as models
from properties import examples

pytestmark = pytest.mark.unit
MASK = Ragged("attention_mask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ragged")


@pytest.fixture(scope="module")
def loaded(folder):
    found = load_model(served(models.transformer(folder / "t.onnx")), 1)
    yield found
    found.session.close()


def served(path, ragged=MASK):
    return ServedModel("t", "1.0.0", str(path), "sha256:1", ragged=ragged)


class Asked(Member):
    __slots__ = ("answers",)

    def __init__(self, shape_of, rows, length, seed=0, pad=0):
        random = np.random.default_rng(seed)
        mask = np.ones((rows, length), np.int64)
        mask[:, length - pad :] = 0
        inputs = {"input_ids": random.integers(0, 100, (rows, length)), "attention_mask": mask}
        super().__init__(inputs, rows, shape_of(inputs), 0)
        self.answers = []

    def succeed(self, outputs):
        self.answers.append(outputs)

    def fail(self, error):
        self.answers.append(error)


def test_a_declared_mask_is_proved_and_outputs_that_are_as_long_are_known(loaded):
    padder = loaded.padder
    assert padder is not None
    assert loaded.unpadded == ""
    assert padder._cuts == ((), (1,), (1, 2))
    assert 1.1 <= padder.growth <= 2.0


@examples(40)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=12
    )
)
def test_filled_up_and_cut_back_is_the_same_as_alone(loaded, asked):
    padder = Padder(loaded.session.signature, MASK, loaded.padder._cuts, 2.0)
    members = [
        Asked(padder.shape_of, rows, length, seed, min(pad, length - 1))
        for seed, (rows, length, pad) in enumerate(asked)
    ]
    by_shape = {}
    for member in members:
        by_shape.setdefault(member.shape, []).append(member)
    for group in by_shape.values():
        lengths = padder.lengths(group)
        inputs = padder.gather(group)
        together = loaded.session.infer(inputs)
        real = sum(n * m.rows for n, m in zip(lengths, group, strict=True))
        assert inputs["input_ids"].size <= 2 * real
        start = 0
        for member, length in zip(group, lengths, strict=True):
            rows = [array[start : start + member.rows] for array in together]
            start += member.rows
            alone = loaded.session.infer(member.inputs)
            for mine, wanted in zip(padder.cut(rows, length), alone, strict=True):
                assert mine.shape == wanted.shape
                np.testing.assert_allclose(mine, wanted, rtol=1e-3, atol=1e-5)


def test_members_of_different_lengths_share_a_call_and_get_their_own(folder):
    async def main():
        table = ModelTable(Block(), 1, lambda: None)
        try:
            await table.apply(ServedList(1, (served(folder / "t.onnx"),)))
            live = table.resolve("t")
            calls = []
            live.batcher._on_call = calls.append
            double = Padder(live.signature, MASK, (), 2.0)  # whatever was measured just now
            members = [Asked(double.shape_of, 1, 16 + i, i) for i in range(8)]
            for member in members:
                live.batcher.submit(member)
            await live.batcher.drain(30)
            assert [len(call.members) for call in calls] == [8]
            for i, member in enumerate(members):
                [(embedding, tokens, weights)] = member.answers
                length = 16 + i
                assert tokens.shape == (1, length, 8)
                assert weights.shape == (1, length, length)
                wanted = live._session.infer(member.inputs)[0]
                np.testing.assert_allclose(embedding, wanted, rtol=1e-3, atol=1e-5)
        finally:
            await table.close(5)

    (folder / "t.onnx").exists() or models.transformer(folder / "t.onnx")
    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    ("ragged", "said"),
    [
        (Ragged("nobody"), "'nobody' is none of attention_mask, input_ids"),
        (Ragged("attention_mask", values=(("who", 1.0),)), "'who' is none of"),
        (Ragged("attention_mask", axis=2), "axis 2 of input 'attention_mask' is not dynamic"),
    ],
)
def test_a_declaration_that_does_not_fit_is_told_and_not_followed(folder, ragged, said):
    found = load_model(served(models.transformer(folder / "d.onnx"), ragged), 1)
    found.session.close()
    assert found.padder is None
    assert said in found.unpadded


def test_a_mask_that_the_model_does_not_heed_is_found_out_and_the_index_says_so(folder):
    async def main():
        table = ModelTable(Block(), 1, lambda: None)
        try:
            path = models.transformer(folder / "blind.onnx", masked=False)
            await table.apply(ServedList(1, (served(path),)))
            entry = table.entry("t")
            assert entry.state is State.READY
            assert entry.live.batched
            assert entry.reason.startswith("requests of different lengths share no call: output ")
            assert "changes when inputs are filled up behind the mask" in entry.reason
            assert entry.live.shape_of(Asked(entry.live.shape_of, 1, 5).inputs) == ((5,), (5,))
        finally:
            await table.close(5)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_inputs_that_contradict_each_other_are_left_to_the_model_alone(loaded):
    padder = loaded.padder
    ids = np.ones((1, 6), np.int64)
    odd = padder.shape_of({"input_ids": ids, "attention_mask": np.ones((1, 4), np.int64)})
    usual = padder.shape_of({"input_ids": ids, "attention_mask": ids})
    assert odd != usual


def test_growth_is_what_sharing_saves_and_never_over_double():
    def curve(*per_call):
        return Curve(tuple(Point(2**i, ns) for i, ns in enumerate(per_call)))

    assert proving.growth_of(curve(1e6, 1.1e6, 1.3e6), 4) == 2.0
    assert proving.growth_of(curve(1e6, 1.6e6, 3.2e6), 4) == pytest.approx(1.25)
    assert proving.growth_of(curve(1e6, 2e6, 4e6), 4) == 1.0
    assert proving.growth_of(Curve(), 4) == 1.0


def test_a_model_that_gains_nothing_is_not_filled_up(loaded):
    flat = Curve((Point(1, 1e6), Point(2, 2e6)))
    padder, why = proving.padding_of(loaded.session, MASK, flat, 2)
    assert padder is None
    assert "saves too little" in why


@given(st.integers(1, 100_000), st.integers(1, 100_000), st.floats(1.1, 2.0))
def test_lengths_of_one_bucket_differ_by_less_than_the_factor(left, right, growth):
    if bucket(left, growth) == bucket(right, growth):
        low, high = sorted((left, right))
        assert high < low * growth * 1.0001
    elif left < right:
        assert bucket(left, growth) < bucket(right, growth)


def test_text_and_half_floats_are_not_filled_up():
    for kind in (Datatype.BYTES, Datatype.BF16):
        inputs = (
            TensorSpec("x", kind, (None, None)),
            TensorSpec("m", Datatype.INT64, (None, None)),
        )
        said = problem_of(Signature(inputs, ()), Ragged("m"))
        assert f"'x' is {kind}" in said


def test_texts_are_grouped_by_length():
    def texts(*values):
        array = np.empty((len(values), 1), object)
        array[:, 0] = values
        return {"text": array}

    shape_of = TextLengths(("text",)).shape_of
    assert shape_of(texts(b"")) == shape_of(texts(b"a short one")) == shape_of(texts(b"a", b""))
    assert shape_of(texts(b"x" * 100)) == shape_of(texts(b"x" * 120, b""))
    assert shape_of(texts(b"x" * 100)) != shape_of(texts(b"x" * 300))


@pytest.mark.parametrize(
    ("text", "ragged"),
    [
        ("attention_mask", MASK),
        ("m:2", Ragged("m", 2)),
        ("m,input_ids=1,x=-0.5", Ragged("m", 1, (("input_ids", 1.0), ("x", -0.5)))),
        ("", None),
    ],
)
def test_the_declaration_is_read_as_it_is_written(text, ragged):
    assert parse_ragged(text) == ragged


@pytest.mark.parametrize(
    "text", [",", ":1", "m:0", "m:x", "m,x", "m,=1", "m,x=", "m,x=nan", "m:99"]
)
def test_what_is_none_is_refused(text):
    with pytest.raises(InvalidError) as caught:
        parse_ragged(text)
    assert caught.value.field == "ragged"


def test_it_travels_in_a_signature_and_a_served_list():
    ragged = Ragged("m", 1, (("ids", 3.0),))
    signature = Signature((), (), ragged=ragged)
    assert codec.decode(Signature, codec.encode(signature)) == signature
    line = replace(served("x", ragged), signature=signature)
    assert codec.decode(ServedModel, codec.encode(line)) == line
