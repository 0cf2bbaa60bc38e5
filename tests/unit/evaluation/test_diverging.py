"""Distances, counterparts and the decision where two forms part; no engine."""

import numpy as np
import pytest

from modelworks.core.optimizing.insides import Inside, Operator
from modelworks.evaluation.diverging.deciding import decide, nearest
from modelworks.evaluation.diverging.found import Parting, Seen
from modelworks.evaluation.diverging.meters import BROKEN, Meter
from modelworks.evaluation.diverging.pairing import Stage, own, pairs

pytestmark = pytest.mark.unit


def meter(first, second, numbers=None):
    found = Meter()
    first = np.asarray(first)
    found.add(numbers or list(range(len(first))), first, np.asarray(second))
    return found


def graph(*nodes, inputs=("x",), outputs=("y",), constants=()):
    """Nodes as `kind:a,b>c`."""
    operators = []
    for text in nodes:
        kind, _, rest = text.partition(":")
        read, _, made = rest.partition(">")
        operators.append(Operator(f"/{made}", kind, tuple(read.split(",")), (made,)))
    return Inside(tuple(operators), inputs, outputs, frozenset(constants))


def told(found):
    return [(one.first, one.second, one.stage.value) for one in found]


def decided(found, far, outputs=("y",), tolerance=0.1):
    """By distances by the second form's names; what is not named agrees."""
    meters = [meter([[1.0]], [[1.0 + far.get(one.second, 0.0)]]) for one in found]
    return decide(found, meters, outputs, tolerance)


def test_distances_are_shares_of_the_row_and_of_the_value():
    ones = np.ones((4, 10))
    assert meter(ones, ones).apart() == 0
    assert meter(ones, ones * 1.1).apart() == pytest.approx(0.1)
    one_far = ones.copy()
    one_far[2, 3] = 1.5  # one number of ten: half of the largest
    found = meter(ones, one_far)
    assert found.apart() == pytest.approx(0.5)
    assert found.beyond(0.1) == (2,)
    assert found.worst == (2, 1.0, 1.5)
    small = np.vstack([ones, ones * 0.1])
    moved = small.copy()
    moved[4:] += 0.05  # nothing beside the large rows, half of these
    assert meter(small, moved).apart() == pytest.approx(0.5)
    nothing = np.zeros((2, 3))
    assert meter(nothing, nothing).apart() == 0
    assert meter(nothing, nothing + 1e-3).apart() == 1


def test_pieces_give_what_all_at_once_gives():
    numbers = np.random.default_rng(0)
    first, second = numbers.normal(size=(2, 20, 7))
    pieces = Meter()
    for start in range(0, 20, 6):
        part = slice(start, start + 6)
        pieces.add(list(range(20))[part], first[part], second[part])
    whole = meter(first, second)
    assert np.allclose(pieces.by_row(), whole.by_row())
    assert pieces.worst == whole.worst


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ([[np.nan, 1]], [[np.nan, 1]], 0),
        ([[np.inf, 1]], [[np.inf, 1]], 0),
        ([[np.inf, 1]], [[-np.inf, 1]], BROKEN),
        ([[1.0, 1]], [[np.nan, 1]], BROKEN),
        ([[1e5, 1]], [[np.inf, 1]], BROKEN),
        ([[-3e38, 1]], [[-60000.0, 1]], 0),  # both stand for infinity
        ([[-3e38, 1]], [[-100.0, 1]], BROKEN),
        ([[True, False]], [[True, False]], 0),
    ],
)
def test_what_is_no_number_and_what_stands_for_infinity(first, second, apart):
    assert meter(first, second).apart() == apart


def test_channels_may_come_last_and_other_shapes_are_no_counterpart():
    images = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    assert meter(images, images.transpose(0, 2, 3, 1)).apart() == 0
    cubes = np.random.default_rng(0).normal(size=(2, 4, 4, 4))
    assert meter(cubes, cubes.transpose(0, 2, 3, 1)).apart() == 0
    assert meter(cubes, cubes).apart() == 0
    assert meter(images[..., :1], images[..., 0]).apart() == 0
    found = meter(images, images[:, :2])
    assert (found.misfit, found.apart()) == ("[2, 3, 4, 5] and [2, 2, 4, 5]", 0)
    texts = np.array([b"a", b"b"], object)
    assert meter(texts, texts).apart() == 0
    assert meter(texts, texts[::-1]).apart() == 1
    assert meter(texts, np.ones(2)).apart() == 1


def test_values_are_the_same_by_name_and_weights_by_their_operator():
    first = graph("Conv:x,w>a", "Relu:a>b", "Gemm:b,v>y", constants=("w", "v"))
    second = graph("Conv:x,w2>a", "Gemm:a,v>y", constants=("w2", "v"))
    assert told(pairs(first, second)) == [
        ("w", "w2", "stored"),
        ("a", "a", "made"),
        ("v", "v", "stored"),
        ("y", "y", "made"),
    ]


def test_quantized_values_are_followed_through_their_pairs():
    first = graph("Conv:x,w>a", "Relu:a>b", "Conv:b,v>y", constants=("w", "v"))
    second = graph(
        "QuantizeLinear:x,s,z>xq",
        "DequantizeLinear:xq,s,z>xd",
        "DequantizeLinear:wq,s,z>wd",
        "Conv:xd,wd>a",
        "Relu:a>b",
        "QuantizeLinear:b,s,z>bq",
        "DequantizeLinear:bq,s,z>bd",
        "DequantizeLinear:vq,s,z>vd",
        "Conv:bd,vd>yin",
        "QuantizeLinear:yin,s,z>yq",
        "DequantizeLinear:yq,s,z>y",
        constants=("s", "z", "wq", "vq"),
    )
    found = pairs(first, second)
    assert told(found) == [
        ("x", "xd", "rounded"),
        ("w", "wd", "stored"),
        ("a", "a", "made"),
        ("b", "b", "made"),
        ("b", "bd", "rounded"),
        ("v", "vd", "stored"),
        ("y", "yin", "made"),
        ("y", "y", "rounded"),
    ]
    assert [one.parents for one in found] == [
        (), (), ("wd", "xd"), ("a",), ("b",), (), ("bd", "vd"), ("yin",),
    ]  # fmt: skip
    assert [one.other.kind for one in found][3:5] == ["Relu", "QuantizeLinear"]


def test_operators_with_the_same_name_stand_for_one_another_where_values_do_not():
    first = graph("Conv:x>a", "Relu:a>y")
    renamed = Inside(
        (Operator("/a", "Conv", ("x",), ("t1",)), Operator("/y", "Relu", ("t1",), ("y",))),
        ("x",), ("y",), frozenset(),
    )  # fmt: skip
    assert told(pairs(first, renamed)) == [("a", "t1", "made"), ("y", "y", "made")]


def test_where_operators_were_joined_the_nearest_value_is_meant():
    """A Relu that went into the rounding after it: the convolution makes what is called `r`."""
    first = graph("Conv:x,w>c", "Relu:c>r", "Gemm:r,v>y", constants=("w", "v"))
    second = Inside(
        (
            Operator("/c", "Conv", ("x", "w"), ("r",)),
            Operator("", "QuantizeLinear", ("r", "s", "z"), ("rq",)),
            Operator("", "DequantizeLinear", ("rq", "s", "z"), ("rd",)),
            Operator("/y", "Gemm", ("rd", "v"), ("y",)),
        ),
        ("x",), ("y",), frozenset({"w", "v", "s", "z"}), 8,
    )  # fmt: skip
    found = pairs(first, second)
    assert {("c", "r", "made"), ("c", "rd", "rounded"), ("r", "r", "made")} < set(told(found))
    apart = {("c", "r"): 0.0, ("r", "r"): 0.9, ("c", "rd"): 0.9, ("r", "rd"): 0.01}
    meters = [meter([[1.0]], [[1.0 + apart.get((p.first, p.second), 0.0)]]) for p in found]
    meant = {name: one.pair.first for name, one in nearest(found, meters).items()}
    assert (meant["r"], meant["rd"]) == ("c", "r")
    assert decide(found, meters, ("y",), 0.1).harmless == 0


def test_a_graph_beside_itself():
    found = own(graph("A:x,w>a", "B:w>c", "C:a,c>y", constants=("w",)))
    assert [(one.first, one.parents) for one in found] == [("a", ()), ("y", ("a",))]


def test_what_begins_a_difference_is_found_and_what_follows_is_not_blamed():
    two = graph("A:x>l", "B:l>l2", "C:x>r", "D:r>r2", "Add:l2,r2>s", "E:s>y")
    found = pairs(two, two)
    one = decided(found, {"r2": 0.5, "s": 0.3, "y": 0.2})
    assert [at.value for at in one.origins] == ["r2"]
    both = decided(found, {"l": 0.2, "l2": 0.2, "r2": 0.5, "s": 0.3, "y": 0.2})
    assert [at.value for at in both.origins] == ["l", "r2"]
    assert both.adds[0].name == "/r2 (D) 'r2'"
    assert decided(found, {"y": 0.2}).origins[0].operator == "/y"


def test_what_reaches_no_output_is_not_blamed():
    found = pairs(*[graph("A:x>a", "B:a>b", "C:b>y")] * 2)
    one = decided(found, {"a": 0.5, "y": 0.2})  # b agrees: the difference at a is gone
    assert [at.value for at in one.origins] == ["y"]
    assert one.harmless == 1
    none = decided(found, {"a": 0.5})
    assert (none.origins, none.harmless) == ((), 1)


def test_slow_growth_is_called_so():
    found = pairs(*[graph("A:x>a", "B:a>b", "C:b>y")] * 2)
    one = decided(found, {"a": 0.05, "b": 0.09, "y": 0.12})
    assert one.origins[0].value == "y"
    assert "many small differences add up" in one.origins[0].why
    sudden = decided(found, {"a": 0.001, "b": 0.001, "y": 0.12})
    assert sudden.origins[0].why.startswith("the operator computes otherwise")


def test_one_line_says_it():
    ends = (Seen("y", 0.02, Stage.MADE),)
    assert Parting(True, 0.1, 64, 0, ends).summary.startswith("they agree: no output of 64 rows")
    assert "no value inside tells where" in Parting(False, 0.01, 64, 64, ends).summary
