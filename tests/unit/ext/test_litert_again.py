"""Calls like the one before take a shorter way in LiteRT; what is wrong is still found."""

import numpy as np
import pytest

from litert_graphs import converted, graph, session, weights
from modelworks.core.errors import InvalidError

pytestmark = pytest.mark.unit


@pytest.fixture
def model(tmp_path):
    text = "(float[N,6] x, float[N,6] z) => (float[N,3] y) { s = Sub(x, z) y = MatMul(s, w) }"
    w = weights(6, 3)
    job = converted(tmp_path, graph(text, {"w": w}))
    return session("litert", job.into, job.signature), w


def made(count, seed):
    chance = np.random.default_rng(seed)
    return {name: chance.standard_normal((count, 6)).astype("f4") for name in "xz"}


def test_sizes_may_change_with_every_call(model):
    loaded, w = model
    for seed, count in enumerate((1, 1, 16, 16, 1, 3, 16, 1, 1)):
        inputs = made(count, seed)
        [found] = loaded.infer(inputs)
        np.testing.assert_allclose(found, (inputs["x"] - inputs["z"]) @ w, atol=1e-5)


def test_the_order_of_names_does_not_matter(model):
    loaded, _ = model
    inputs = made(2, 0)
    [first] = loaded.infer(inputs)
    [second] = loaded.infer(dict(reversed(inputs.items())))
    np.testing.assert_array_equal(first, second)


def test_an_array_in_another_order_is_read_as_it_is(model):
    loaded, _ = model
    inputs = made(4, 0)
    [first] = loaded.infer(inputs)
    [second] = loaded.infer({name: np.asfortranarray(x) for name, x in inputs.items()})
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs | {"x": inputs["x"].astype("f8")},
        lambda inputs: inputs | {"x": inputs["x"][:, :5]},
        lambda inputs: inputs | {"w": inputs["x"]},
        lambda inputs: {"x": inputs["x"], "w": inputs["z"]},
        lambda inputs: {"x": inputs["x"]},
    ],
)
def test_what_is_wrong_is_refused_after_a_good_call(model, change):
    loaded, _ = model
    inputs = made(2, 0)
    [first] = loaded.infer(inputs)
    with pytest.raises(InvalidError):
        loaded.infer(change(inputs))
    np.testing.assert_array_equal(loaded.infer(inputs)[0], first)


def test_a_closed_session_keeps_nothing(model):
    from modelworks.core.errors import UnavailableError

    loaded, _ = model
    loaded.infer(made(1, 0))
    loaded.close()
    with pytest.raises(UnavailableError):
        loaded.infer(made(1, 0))


def test_labels_that_are_texts_come_every_time(tmp_path):
    text = "(float[N,3] x) => (string[N] y) { a = ArgMax<axis = 1, keepdims = 0>(x)"
    text += " y = Gather(names, a) }"
    job = converted(tmp_path, graph(text, {"names": np.array(["a", "", "cé"])}))
    loaded = session("litert", job.into, job.signature)
    for best in (0, 2, 1, 2):
        [found] = loaded.infer({"x": np.eye(3, dtype="f4")[[best, 0]]})
        assert found.tolist() == [["a", "", "cé"][best].encode(), b"a"]
