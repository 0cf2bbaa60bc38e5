"""Every operator that the pass `litert` knows, against ONNX Runtime; and what it says no to."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litert_graphs import converted, graph, same, saved, weights
from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.plugins.load import load

pytestmark = pytest.mark.unit

ROW = "(float[N,6] x) => (float[N,M] y)"
IMAGE = "(float[N,3,8,7] x) => (float[N,C,H,W] y)"
W = {"w": weights(6, 4), "wt": weights(4, 6), "b": weights(4), "c": weights(1, 4)}
K = {"k": weights(5, 3, 3, 3), "kb": weights(5), "deep": weights(6, 1, 3, 3), "g": weights(5)}
K |= {"bt": weights(5), "m": weights(5), "v": np.abs(weights(5)) + 0.5, "ch": weights(3, 1, 1)}
S = {"six": weights(6), "one": np.float32(0.5), "lo": np.float32(-0.4), "hi": np.float32(0.7)}
S |= {"zero": np.float32(0), "top": np.float32(6), "neg": np.float32(-1), "uno": np.float32(1)}
SHAPES = {"flat": np.array([0, -1], "i8"), "two3": np.array([0, 2, 3], "i8")}
SHAPES |= {
    "ax": np.array([1], "i8"),
    "img": np.array([2, 3], "i8"),
    "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1], "i8"),
}
L = {"labels": np.array([7, -3, 5, 100, 2, 9], "i8"), "small": np.arange(6, dtype="i4") * 3}
L |= {"texts": np.array(["a", "bb", "", "dé", "e", "f"]), "minus": np.array([-1], "i8")}
ALL = W | K | S | SHAPES | L

ROWS = [
    "y = Gemm(x, w, b)",
    "y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, wt, c)",
    "y = Gemm<transB = 1>(x, wt)",
    "y = MatMul(x, w)",
    "z = MatMul(x, w) y = Add(b, z)",
    "z = MatMul(x, w) s = Sub(c, z) t = Div(s, b) y = Relu(t)",
    "z = Gemm(x, w, b) y = Clip(z, zero, top)",
    "z = Gemm(x, w, b) y = Clip(z, neg, uno)",
    "z = Gemm(x, w, b) y = Clip(z, lo, hi)",
    "y = Clip(x, lo)",
    "y = Clip(x, , hi)",
    "y = Clip(x)",
    "y = Relu(x)",
    "z = MatMul(x, w) a = Relu(z) b2 = Tanh(z) y = Add(a, b2)",
    "a = Relu(x) y = Sqrt(a)",
    "a = Sigmoid(x) y = Mul(x, a)",
    "a = Exp(x) b2 = Log(a) y = Neg(b2)",
    "a = Abs(x) y = Div(six, a)",
    "y = LeakyRelu<alpha = 0.2>(x)",
    "y = Elu(x)",
    "y = HardSwish(x)",
    "y = PRelu(x, six)",
    "y = Gelu(x)",
    'y = Gelu<approximate = "tanh">(x)',
    "d = Div(x, root) e = Erf(d) p = Add(e, uno) q = Mul(x, p) y = Mul(q, half)",
    "d = Mul(x, half2) e = Erf(d) p = Add(uno, e) q = Mul(p, half) y = Mul(q, x)",
    "y = LayerNormalization(x, six, six2)",
    "y = LayerNormalization<epsilon = 0.1>(x, six)",
    "y = HardSigmoid<alpha = 0.3>(x)",
    "a = Exp(x) y = Reciprocal(a)",
    "a = Pow(x, two) y = Pow(a, half)",
    "y = Softmax(x)",
    "y = Softmax<axis = 1>(x)",
    "y = LogSoftmax(x)",
    "y = Max(x, six)",
    "y = Min(one, x)",
    "y = Sub(one, x)",
    "y = Identity(x)",
    "a = Dropout(x) y = Relu(a)",
    "a = Neg(x) y = Concat<axis = 1>(x, a, x)",
    "a = Neg(x) y = Concat<axis = -1>(a, x)",
    "y = ReduceMean(x, ax)",
    "y = ReduceMax<keepdims = 0>(x, ax)",
    "y = ReduceMin(x, ax)",
    "y = ReduceSum<keepdims = 0>(x, ax)",
    (
        "y = ai.onnx.ml.Scaler<offset = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],"
        " scale = [2.0, 1.0, 3.0, 1.0, 1.0, 0.3]>(x)"
    ),
    "a = Cast<to = 11>(x) y = Cast<to = 1>(a)",
    (
        "a = Shape(x) s = Constant<value_ints = [0]>() n = Gather(a, s)"
        " r = Concat<axis = 0>(n, minus) z = Reshape(x, r) y = Relu(z)"
    ),
]
IMAGES = [
    "y = Conv(x, k, kb)",
    "y = Conv<pads = [1, 1, 1, 1]>(x, k)",
    "y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, k, kb)",
    "y = Conv<pads = [0, 2, 1, 0], strides = [1, 2]>(x, k, kb)",
    'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, k)',
    'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, k)',
    "y = Conv<dilations = [2, 2]>(x, k)",
    "y = Conv<group = 3, pads = [1, 1, 1, 1]>(x, deep)",
    "a = Conv(x, k, kb) b2 = BatchNormalization(a, g, bt, m, v) y = Relu(b2)",
    "a = Conv(x, k, kb) b2 = Tanh(a) c2 = BatchNormalization(b2, g, bt, m, v) y = Relu(c2)",
    "a = Conv(x, k) y = Conv<pads = [1, 1, 1, 1], group = 5>(a, five)",
    "a = Conv(x, k) b2 = Relu(a) c2 = Sigmoid(a) y = Mul(b2, c2)",
    "y = Mul(x, ch)",
    "a = MaxPool<kernel_shape = [2, 2]>(x) y = Add(a, ch)",
    "y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(x)",
    "a = Relu(x) y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(a)",
    "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    "y = AveragePool<kernel_shape = [2, 3], strides = [2, 1]>(x)",
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
    "y = GlobalAveragePool(x)",
    "a = Conv(x, k) y = GlobalAveragePool(a)",
    "a = Conv(x, k) y = GlobalMaxPool(a)",
    "a = Conv(x, k) y = Pad(a, pads)",
    "y = Pad(x, pads, one)",
    (
        "a = Conv(x, k) b2 = Conv<pads = [1, 1, 1, 1]>(x, k)"
        " c2 = MaxPool<kernel_shape = [3, 3]>(b2) y = Concat<axis = 1>(a, c2)"
    ),
    "a = Conv(x, k) y = Softmax<axis = 1>(a)",
    "y = Softmax(x)",
    "y = Transpose<perm = [0, 3, 1, 2]>(x)",
    (
        "a = Transpose<perm = [0, 2, 3, 1]>(x) b2 = Relu(a) c2 = Transpose<perm = [0, 3, 1, 2]>(b2)"
        " y = Conv(c2, k)"
    ),
    "y = Transpose<perm = [0, 1, 3, 2]>(x)",
    "a = Conv(x, k) y = PRelu(a, slope)",
]
OTHERS = [
    ("(float[N,3,8,7] x) => (float[N,M] y) { a = Conv(x, k) f = Flatten(a) y = MatMul(f, wide) }"),
    ("(float[N,3,8,7] x) => (float[N,M] y) { a = Conv(x, k) f = Flatten(a) g2 = Relu(f)"
     " y = MatMul(g2, wide) }"),
    ("(float[N,3,8,7] x) => (float[N,M] y, float[N,P] f) { a = Conv(x, k) f = Flatten(a)"
     " y = MatMul(f, wide) }"),
    ("(float[N,3,8,7] x) => (float[N,M] y) { a = Conv(x, k) p = GlobalAveragePool(a)"
     " f = Reshape(p, flat) y = MatMul(f, few) }"),
    ("(float[N,3,8,7] x) => (float[N,M] y) { a = Conv(x, k)"
     " y = ReduceMean<keepdims = 0>(a, img) }"),
    "(float[N,6] x) => (float[N,2,3] y) { y = Reshape(x, two3) }",
    "(float[N,6] x) => (float[N,1,6] y) { y = Unsqueeze(x, ax) }",
    "(float[N,1,6] x) => (float[N,6] y) { y = Squeeze(x, ax) }",
    "(float[N,5,6] x) => (float[N,5,4] y) { z = MatMul(x, w) y = Add(z, b) }",
    "(float[N,5,6] x) => (float[N,6,5] y) { y = Transpose<perm = [0, 2, 1]>(x) }",
    "(float[N,6] x, float[N,6] z) => (float[N,6] y) { y = Mul(x, z) }",
    "(float[2,6] x) => (float[2,4] y) { y = Gemm(x, w, b) }",
    "(float[N,6] x) => (float[N,6] y, float[N,6] z) { y = Relu(x) z = Tanh(y) }",
    "(float[N,6] x) => (int64[N] y) { y = ArgMax<axis = 1, keepdims = 0>(x) }",
    "(float[N,6] x) => (int64[N,1] y) { y = ArgMax<axis = -1>(x) }",
    ("(float[N,6] x) => (int64[N] y) { a = ArgMax<axis = 1, keepdims = 0>(x)"
     " y = Gather(labels, a) }"),
    ("(float[N,6] x) => (string[N] y) { a = ArgMax<axis = 1, keepdims = 0>(x)"
     " y = Gather(texts, a) }"),
    ("(float[N,6] x) => (int64[N] y) { a = ArgMax<axis = 1>(x)"
     " b2 = ai.onnx.ml.ArrayFeatureExtractor(small, a) c2 = Reshape(b2, minus)"
     " y = Cast<to = 7>(c2) }"),
    ("(float[N,6] x) => (string[N] y) { a = ArgMax<axis = 1>(x)"
     " b2 = ai.onnx.ml.ArrayFeatureExtractor(texts, a) y = Reshape(b2, minus) }"),
]  # fmt: skip
ALL |= {"wide": weights(150, 4, scale=0.1), "few": weights(5, 4), "five": weights(10, 1, 3, 3)}
ALL |= {"slope": weights(5, 1, 1)}


ALL |= {"root": np.float32(np.sqrt(2)), "half2": np.float32(np.sqrt(0.5)), "six2": weights(6)}
ALL |= {"half": np.float32(0.5), "two": np.float32(2)}


def used(text):
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return {name: value for name, value in ALL.items() if name in words}


def whole(text, opset=20):
    return graph(text, used(text), opset)


@pytest.mark.parametrize(
    "text",
    [f"{ROW} {{ {one} }}" for one in ROWS] + [f"{IMAGE} {{ {one} }}" for one in IMAGES] + OTHERS,
)
def test_it_says_what_onnx_runtime_says(tmp_path, text):
    same(converted(tmp_path, whole(text)), counts=(2,) if "float[2," in text else (1, 2, 7))


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        ("y = Softmax(x)", 11),
        ("y = Clip<min = -0.5, max = 0.5>(x)", 9),
        ("y = ReduceMean<axes = [1]>(x)", 13),
    ],
)
def test_older_ways_to_say_it(tmp_path, text, opset):
    same(converted(tmp_path, whole(f"{ROW} {{ {text} }}", opset)))


REFUSED = [
    ("(float[N,6] x) => (float[N,6] y) { a = Erf(x) y = Softplus(a) }", "Erf, Softplus"),
    ("(float[N,6] x) => (float[6,N] y) { y = Transpose(x) }", "mixes rows"),
    ("(float[N,6] x) => (float[M,3] y) { y = Reshape(x, off) }", "mixes rows"),
    ("(float[N,6] x) => (float[1,6] y) { y = ReduceMean(x, zeroth) }", "mixes rows"),
    ("(float[N,6] x) => (float[N,6] y) { y = Softmax<axis = 0>(x) }", "axis 0 of 2"),
    ("(float[N] x) => (float[N] y) { y = Softmax(x) }", "axis 0 of 1"),
    ("(float[N,6] x) => (int64[6] y) { y = ArgMax<keepdims = 0>(x) }", "mixes rows|over the rows"),
    (
        "(float[N,2,6] x, float[N,6,3] u) => (float[N,2,3] y) { y = MatMul(x, u) }",
        "weights are computed",
    ),
    ("(double[N,6] x) => (double[N,6] y) { y = Tanh(x) }", "float64"),
    ("(float[N,M] x) => (float[N,M] y) { y = Tanh(x) }", "only the first axis"),
    ("(float[N,4,8] x) => (float[N,5,6] y) { y = Conv(x, line) }", "two are wanted"),
    ("(float[N,4,8,8] x) => (float[N,4,6,6] y) { y = Conv<group = 2>(x, grouped) }", "2 groups"),
    ("(float[N,6] x) => (float[N,6] y) { y = Elu<alpha = 2.0>(x) }", "alpha"),
    ("(float[N,6] x) => (float[6] y) { y = Identity(six) }", "does not depend"),
    ("(float[N,6] x) => (float[N,6] y) { y = Max(x, x, x) }", "3 inputs"),
    ("(float[N,6] x) => (float[N,6] y) { y = Pow(x, one2) }", "exponent"),
    (
        (
            "(float[N,6] x) => (float[N,6] y) { d = Div(x, half) e = Erf(d) p = Add(e, uno)"
            " q = Mul(x, p) y = Mul(q, half) }"
        ),
        "Erf",
    ),
]
ALL |= {"off": np.array([-1, 3], "i8"), "zeroth": np.array([0], "i8"), "line": weights(5, 4, 3)}
ALL |= {"one2": np.float32(1.5), "grouped": weights(4, 2, 3, 3)}


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_has_no_such_form_is_refused_with_the_reason(tmp_path, text, said):
    job = saved(tmp_path, whole(text))
    with pytest.raises(UnsupportedError, match=said) as caught:
        load("passes", "litert")().apply(job)
    assert len(caught.value.message) <= 300
    assert list(job.into.iterdir()) == []


def test_one_operator_too_many_is_named_before_anything_runs(tmp_path):
    text = f"{ROW} {{ a = Gemm(x, w, b) b2 = Relu(a) y = Erf(b2) }}"
    job = saved(tmp_path, whole(text))
    assert "Erf" in load("passes", "litert")().fits(job)
    assert (
        load("passes", "litert")().fits(saved(tmp_path / "o", whole(f"{ROW} {{ y = Relu(x) }}")))
        == ""
    )


STEPS = {
    "Relu": "{o} = Relu({i})",
    "Tanh": "{o} = Tanh({i})",
    "Sigmoid": "{o} = Sigmoid({i})",
    "Clip6": "{o} = Clip({i}, lo, hi)",
    "BatchNormalization": "{o} = BatchNormalization({i}, g{n}, t{n}, m{n}, v{n})",
    "Mul": "{o} = Mul({i}, g{n})",
    "Sub": "{o} = Sub(t{n}, {i})",
    "Residual": "{o} = Add({i}, h{n})",
}


@st.composite
def nets(draw):
    """A dense network: widths, ways to write a layer, what comes after each."""
    widths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=4))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    constants, lines, last = {"lo": np.float32(-1), "hi": np.float32(1)}, [], "x"
    for n, (a, b) in enumerate(pairwise(widths)):
        real = lambda *shape: chance.standard_normal(shape).astype("f4")  # noqa: E731
        constants |= {f"w{n}": real(a, b), f"b{n}": real(b), f"g{n}": real(b), f"t{n}": real(1, b)}
        constants |= {f"m{n}": real(b), f"v{n}": np.abs(real(b)) + 0.5}
        if draw(st.booleans()):
            lines.append(f"h{n} = Gemm({last}, w{n}, b{n})")
        else:
            lines += [f"p{n} = MatMul({last}, w{n})", f"h{n} = Add(b{n}, p{n})"]
        last = f"h{n}"
        constants[f"t{n}"] = constants[f"t{n}"].ravel()
        for place, step in enumerate(draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=3))):
            lines.append(STEPS[step].format(o=f"s{n}_{place}", i=last, n=n))
            last = f"s{n}_{place}"
    lines.append(f"y = {draw(st.sampled_from(['Softmax', 'Identity', 'LogSoftmax']))}({last})")
    text = f"(float[N,{widths[0]}] x) => (float[N,{widths[-1]}] y) {{ {' '.join(lines)} }}"
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return graph(text, {k: v for k, v in constants.items() if k in words})


@settings(max_examples=25, deadline=None)
@given(nets())
def test_any_dense_network_says_what_onnx_runtime_says(tmp_path_factory, model):
    same(converted(tmp_path_factory.mktemp("net"), model), counts=(1, 3), atol=2e-5)


@pytest.mark.parametrize("keep", [0, 40, -40])
def test_a_damaged_graph_is_one_error(tmp_path, keep):
    job = saved(tmp_path, whole(f"{ROW} {{ y = Gemm(x, w, b) }}"))
    file = job.source / "model.onnx"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelworksError) as caught:
        load("passes", "litert")().apply(job)
    assert "\n" not in caught.value.message


@st.composite
def windows(draw):
    """A convolution or a pool with any window, strides and padding."""
    high, wide, tall, broad = (draw(st.integers(a, b)) for a, b in ((4, 9), (4, 9), (1, 3), (1, 3)))
    given = [f"kernel_shape = [{tall}, {broad}]"]
    given.append(f"strides = [{draw(st.integers(1, tall))}, {draw(st.integers(1, broad))}]")
    mode = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    given.append(f'auto_pad = "{mode}"')
    if mode == "NOTSET":
        pads = [draw(st.integers(0, n - 1)) for n in (tall, broad, tall, broad)]
        given.append(f"pads = {pads}")
    kind = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    if kind == "AveragePool":
        given.append("count_include_pad = 1")
    constants = {"k": weights(3, 2, tall, broad)} if kind == "Conv" else {}
    before = draw(st.sampled_from(["Relu", "Neg"]))
    text = f"(float[N,2,{high},{wide}] x) => (float[N,A,B,C] y) {{ a = {before}(x)"
    text += f" y = {kind}<{', '.join(given)}>({'a, k' if constants else 'a'}) }}"
    return graph(text, constants)


@settings(max_examples=15, deadline=None)
@given(windows())
def test_any_window_says_what_onnx_runtime_says(tmp_path_factory, model):
    same(converted(tmp_path_factory.mktemp("window"), model), counts=(1, 3))
