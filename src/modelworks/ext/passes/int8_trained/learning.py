"""Teaches a graph the answers that it gave before its numbers were rounded, and writes it rounded.

The rounded graph is made twice by the same quantizer: first to see which tensors it rounds and by
which ranges, so that the net that learns rounds the same ones; then with what was learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import torch

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes import onnx_qdq as qdq
from modelworks.ext.passes.onnx_parts import begin, end
from modelworks.ext.passes.onnx_ranges import extremes, watch
from modelworks.ext.passes.onnx_session import quiet
from modelworks.ext.passes.training.aims import (
    Aim,
    aims,
    likeness,
    refuse_apart,
    refuse_endless,
    targets,
    told,
)
from modelworks.ext.passes.training.graphs import Graph, named
from modelworks.ext.passes.training.lessons import Learned, Lesson, Target, learn, repeatable
from modelworks.ext.passes.training.net import Net
from modelworks.ext.passes.training.rounding import Range, round_weights
from modelworks.ext.passes.training.rows import Array, Rows, read_rows, split
from modelworks.ext.passes.training.teacher import asked, asked_graph

_HELD: Final = 0.2  # share of the rows that judge and do not teach
_CUT: Final = frozenset({"Clip"})  # the rounded graph leaves what it cuts to the range behind it
_FIXED: Final = frozenset({"Softmax"})  # the quantizer takes 0 to 1


@dataclass(frozen=True, slots=True)
class _Plain:
    """The graph as `int8_static` rounds it.

    Attributes:
        ranges: of all tensors, as they were seen.
        model: rounded.
        known: operators that may be rounded.
        manner: how they are.
    """

    ranges: dict[str, tuple[float, float]]
    model: onnx.ModelProto
    known: dict[str, str]
    manner: qdq.Manner


def teach(facts: PassFacts, job: PassJob) -> Applied:
    """The work of `Int8Trained.apply`; see there."""
    source = begin(facts, job)
    rows = read_rows(job, facts.name)
    with quiet():
        model = qdq.prepared(source, job.threads)
        plain = _plain(model, job)
    signature = own_signature(job.source, job.signature)
    with asked(job.source, signature, job.threads) as teacher:
        answers = teacher.answers(rows.inputs)
    refuse_endless(answers)
    graph = Graph(model)
    found = aims(graph, signature, rows.labels)
    goals = targets(found, answers, rows.labels, signature, job.settings["alpha"])
    inputs = {s.name: torch.from_numpy(np.array(rows.inputs[s.name])) for s in signature.inputs}
    _, held = split(rows.count, _HELD, job.seed)
    with repeatable(job.seed):
        net = _net(graph, inputs, found, answers, plain)
        modules = _ranges(graph, plain, learned=job.settings["ranges"] == "learned")
        net.between(modules)
        learned = _taught(net, list(inputs.values()), goals, held, job)
        net.store()
        ends = {name: each.limits() for name, each in modules.items()}
    with quiet():
        made = qdq.in_eight_bits(graph.model, plain.ranges | ends, plain.manner)
    before = _alike(plain.model, rows, held, found, answers, job)
    after = _alike(made, rows, held, found, answers, job)
    changed = qdq.changed(made, plain.known)
    notes = (
        f"{len(changed)} operators run in eight bits, taught in {learned.steps} updates",
        _progress(learned, before),
        *told(after, len(held), labelled=rows.labels is not None),
    )
    figures = {"quantized": float(len(changed)), "steps": float(learned.steps), **after}
    figures |= {f"{name}_untaught": value for name, value in before.items()}
    return end(job, made, changed, notes, figures)


def _plain(model: onnx.ModelProto, job: PassJob) -> _Plain:
    types = qdq.Manner().types
    known = qdq.operators(model, types)
    kept = tuple(qdq.first(known, job.settings["first"]))
    manner = qdq.Manner(types, kept, per_channel=job.settings["per_channel"])
    assert job.calibration is not None  # noqa: S101 - `read_rows` has refused that
    seen = watch(model, job.calibration, qdq.tensors(model, types), job.threads)
    ranges = extremes(seen)
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    made = qdq.in_eight_bits(copy, ranges, manner)
    if not qdq.rounded_weights(made):
        raise UnsupportedError("none of the graph's operators with weights can be rounded")
    return _Plain(ranges, made, known, manner)


def _net(
    graph: Graph,
    inputs: Mapping[str, torch.Tensor],
    found: Sequence[Aim],
    answers: Mapping[str, Array],
    plain: _Plain,
) -> Net:
    """What learns: its weights are rounded as they are in the rounded graph."""
    apart = [each.tensor for each in qdq.rounded(plain.model)]
    net = Net(graph, list(inputs), [aim.tensor for aim in found], apart)
    refuse_apart(net, list(inputs.values()), found, answers)
    weights = qdq.rounded_weights(plain.model)
    for each in net.layers:
        if named(each.node) in weights:
            round_weights(each.module, per_channel=weights[named(each.node)])
    return net


def _ranges(graph: Graph, plain: _Plain, *, learned: bool) -> dict[str, Range]:
    """Tensor -> its range; one for all that share a scale."""
    every = qdq.rounded(plain.model)
    makers: dict[str, set[str]] = {}
    for each in every:
        node = graph.maker(each.tensor)
        makers.setdefault(each.scale, set()).add("" if node is None else node.op_type)
    ranges: dict[str, Range] = {}
    for each in every:
        kinds = makers[each.scale]
        if each.scale not in ranges:
            ranges[each.scale] = Range(
                each.low,
                each.high,
                learned=learned and not kinds & _FIXED,
                grows=not kinds & _CUT,
            )
    return {each.tensor: ranges[each.scale] for each in every}


def _taught(
    net: Net, inputs: Sequence[torch.Tensor], goals: Sequence[Target], held: Any, job: PassJob
) -> Learned:
    settings = job.settings
    lesson = Lesson(
        settings["steps"],
        rate=settings["rate"],
        temperature=settings["temperature"],
        alpha=settings["alpha"],
        patience=1.0,  # it gets worse at first, and better as the rate falls
        seed=job.seed,
    )
    return learn(net, inputs, goals, torch.from_numpy(held), lesson)


def _alike(
    model: onnx.ModelProto,
    rows: Rows,
    held: Array,
    found: Sequence[Aim],
    answers: Mapping[str, Array],
    job: PassJob,
) -> dict[str, float]:
    """How a rounded graph answers the rows that nothing learned from."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    with asked_graph(Graph(copy), job.threads) as session:
        got = session.answers(rows.take(held).inputs)
    return likeness(found, {name: each[held] for name, each in answers.items()}, got)


def _progress(learned: Learned, before: Mapping[str, float]) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in before.items())
    if learned.loss >= learned.first:
        return f"no update made it better: it answers as int8_static's form does ({figures})"
    share = learned.loss / max(learned.first, 1e-12)
    return f"what is lost on those rows became {share:.2f} of what int8_static loses ({figures})"
