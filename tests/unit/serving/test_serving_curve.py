"""The batch curve: how it is measured within its budget, and which batch size it makes."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.served import Batching, ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.curve import BUDGET_NS, LENGTH, Curve, Point, measure, worthwhile
from modelworks.serving.loading import load_model
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.unit
MS = 1_000_000


class Timed:
    """A session whose calls take as long as they are told, on a clock of its own."""

    apart = False

    def __init__(self, call_ms, axes=(1,), refuses=lambda _shape: False):
        spec = TensorSpec("x", Datatype.FP32, (None, *axes))
        self.signature = Signature((spec,), (TensorSpec("y", Datatype.FP32, (None,)),))
        self.call_ms, self.refuses = call_ms, refuses
        self.now_ns = 0
        self.shapes = []

    def infer(self, inputs):
        shape = inputs["x"].shape
        if self.refuses(shape):
            raise InvalidError(f"no {shape}")
        self.shapes.append(shape)
        self.now_ns += int(self.call_ms(shape[0]) * MS)
        return []


def measured(session, largest=64):
    learnt = []
    curve = measure(
        session, 1, largest, lambda *call: learnt.append(call), clock=lambda: session.now_ns
    )
    return curve, learnt


@pytest.mark.parametrize(
    ("call_ms", "best", "words"),
    [
        (lambda n: 6.0 * n, 1, "no row cheaper"),  # a convolution on one core
        (lambda n: 40.0 + 0.05 * n, 32, "0.5 s"),  # steep: as far as the budget goes
        (lambda n: 12.0 * n / min(1.6, 1 + 0.2 * (n.bit_length() - 1)), 8, ""),  # a transformer
        (lambda n: 0.012 + 0.002 * n, 64, "limit given"),  # trees: nothing to save
        (lambda n: 0.3 * n, 4, "no cheaper"),  # only the server's own share of a call
    ],
)
def test_the_batch_that_pays_is_found(call_ms, best, words):
    session = Timed(call_ms)
    curve, learnt = measured(session)
    found, why = worthwhile(curve, 64)
    assert (found, words in why) == (best, True), (curve, why)
    assert session.now_ns <= BUDGET_NS + 100 * MS
    assert {rows for rows, _ in learnt} == {point.rows for point in curve.points}


def test_a_network_that_gains_nothing_is_never_asked_for_large_batches():
    session = Timed(lambda n: 6.0 * n)
    curve, _ = measured(session)
    assert max(rows for rows, _ in session.shapes) == 4  # its memory grows with every row
    assert "gained nothing" in curve.stopped


def test_a_machine_that_was_slow_for_a_moment_does_not_choose_the_size():
    transformer = lambda n: 12.0 * n / min(1.6, 1 + 0.2 * (n.bit_length() - 1))  # noqa: E731
    session = Timed(lambda n: transformer(n) * (1.4 if 20 * MS < session.now_ns < 170 * MS else 1))
    curve, _ = measured(session)
    assert worthwhile(curve, 64)[0] == 8, curve


def test_one_slow_row_is_timed_once_and_no_more():
    session = Timed(lambda n: 400.0 * n)
    curve, _ = measured(session)
    assert session.shapes == [(1, 1)]
    assert worthwhile(curve, 64)[0] == 1


def test_a_length_that_is_not_known_is_assumed_and_teaches_no_costs():
    session = Timed(lambda n: 0.1 * n, axes=(None,))
    curve, learnt = measured(session)
    assert curve.length == LENGTH
    assert {shape[1] for shape in session.shapes} == {LENGTH}
    assert not learnt
    short = Timed(lambda n: 0.1 * n, axes=(None,), refuses=lambda shape: shape[1] > 8)
    curve, learnt = measured(short)
    assert curve.length == 1
    assert learnt


def test_a_batch_that_is_refused_is_the_end_of_the_curve():
    session = Timed(lambda n: 1.0 + 0.1 * n, refuses=lambda shape: shape[0] > 4)
    curve, _ = measured(session)
    assert [point.rows for point in curve.points] == [1, 2, 4]
    assert "refused" in curve.stopped
    assert worthwhile(curve, 64)[0] == 4


def test_inputs_without_an_axis_are_timed_as_they_are():
    session = Timed(lambda _n: 1.0)
    session.signature = Signature((TensorSpec("x", Datatype.FP32, ()),), session.signature.outputs)
    session.infer = lambda inputs: [inputs["x"].item()]
    assert [point.rows for point in measured(session, largest=1)[0].points] == [1]


@pytest.mark.parametrize("largest", [1, 3, 48])
def test_the_limit_is_measured_and_never_passed(largest):
    session = Timed(lambda n: 0.05 + 0.001 * n)
    curve, _ = measured(session, largest)
    assert curve.points[-1].rows == largest
    assert worthwhile(curve, largest)[0] == largest


def test_an_empty_curve_leaves_the_limit():
    assert worthwhile(Curve(), 7)[0] == 7
    with pytest.raises(ValueError, match="empty"):
        Curve().call_ns(1)


def test_a_call_between_two_points_is_interpolated_and_beyond_them_gains_nothing():
    curve = Curve((Point(2, 10.0), Point(4, 14.0)))
    assert [curve.call_ns(n) for n in (1, 2, 3, 4, 8)] == [10.0, 10.0, 12.0, 14.0, 28.0]


def test_calls_that_were_seen_move_the_curve():
    curve = Curve().learnt([(1, 2, 200), (4, 1, 160), (5, 0, 0)])
    assert curve.points == (Point(1, 100.0), Point(4, 160.0))
    for _ in range(30):
        curve = curve.learnt([(1, 5, 1000)])  # the machine is half as fast now
    assert curve.call_ns(1) == pytest.approx(200, rel=0.01)
    assert curve.call_ns(4) == pytest.approx(320, rel=0.01)
    for _ in range(30):
        curve = curve.learnt([(1, 5, 1000), (4, 5, 2000)])  # and its batches gain less
    assert curve.call_ns(4) == pytest.approx(400, rel=0.01)
    assert curve.learnt([]) is curve


def test_a_loaded_model_has_its_curve_and_says_why_its_batches_are_so_large(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    loaded = load_model(ServedModel("m", "1.0.0", str(path), ""), 1)
    assert loaded.batching == Batching(64)
    assert loaded.curve.points[-1].rows == 64
    assert "64" in loaded.sizing
    path = models.centre(tmp_path / "c.onnx")
    loaded = load_model(ServedModel("c", "1.0.0", str(path), ""), 1)
    assert [point.rows for point in loaded.curve.points] == [1]
    assert loaded.sizing == loaded.unbatched
