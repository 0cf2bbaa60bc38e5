"""Teaches a student what a model answers, and writes it in that model's place."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.core.tensor import Signature
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes.training.aims import likeness, refuse_endless, targets, told
from modelworks.ext.passes.training.finish import assembled, plan
from modelworks.ext.passes.training.graphs import Graph, read_graph, write_graph
from modelworks.ext.passes.training.lessons import Learned, Lesson, Target, learn, repeatable
from modelworks.ext.passes.training.net import Net
from modelworks.ext.passes.training.rows import Array, Rows, read_rows, split
from modelworks.ext.passes.training.students import (
    FEATURES,
    Body,
    Scale,
    arranged,
    picture,
    scaling,
    unfit,
)
from modelworks.ext.passes.training.teacher import Teacher, asked, asked_graph

_HELD: Final = 0.2  # share of the rows that judge and do not teach


def distil(facts: PassFacts, job: PassJob) -> Applied:
    """The work of `Distil.apply`; see there."""
    before = read_graph(facts, job)
    signature = own_signature(job.source, job.signature)
    why = unfit(signature)
    if why:
        raise UnsupportedError(why)
    rows = read_rows(job, facts.name)
    taught, held = split(rows.count, _HELD, job.seed)
    with asked(job.source, signature, job.threads) as teacher:
        more = widened(rows, taught, job.settings["mixed"], job.seed)
        answers = teacher.answers(more.inputs)
        nan = knows_nan(teacher, rows, signature)
    refuse_endless(answers)
    aims, labels = plan(signature, answers, rows.labels)
    scale = scaling(arranged(rows.inputs, signature), signature, nan=nan)
    body = Body(signature, job.settings["size"], scale, job.seed)
    graph = assembled(body, signature, aims, labels)
    features = scaled(arranged(more.inputs, signature), scale)
    goals = targets(aims, answers, rows.labels, signature, job.settings["alpha"])
    learned = _taught(graph, job, [aim.tensor for aim in aims], features, goals, held)
    _fold(graph, body.first, scale, images=picture(signature))
    with asked_graph(graph, job.threads) as student:
        got = student.answers(rows.take(held).inputs)
    alike = likeness(aims, {name: each[held] for name, each in answers.items()}, got)
    was, size = (float(each.model.ByteSize()) for each in (before, graph))
    first = (
        f"a student of {size / 1e3:.0f} KB learned the answers of a model of {was / 1e3:.0f} KB in "
        f"{learned.steps} updates"
    )
    missing = ("a missing value is the mean of its column to the student",) if nan else ()
    notes = (first, *told(alike, len(held), labelled=rows.labels is not None), *missing)
    figures = {"rows": float(len(held)), "bytes_before": was, "bytes": size, **alike}
    return write_graph(graph, job, (), notes, {**figures, "steps": float(learned.steps)})


def _taught(
    graph: Graph,
    job: PassJob,
    tensors: Sequence[str],
    features: Array,
    goals: Sequence[Target],
    held: Array,
) -> Learned:
    settings = job.settings
    lesson = Lesson(
        settings["steps"],
        temperature=settings["temperature"],
        alpha=settings["alpha"],
        seed=job.seed,
    )
    with repeatable(job.seed):
        net = Net(graph, [FEATURES], tensors)
        learned = learn(net, [torch.from_numpy(features)], goals, torch.from_numpy(held), lesson)
        net.store()
    return learned


def widened(rows: Rows, taught: Array, times: int, seed: int) -> Rows:
    """The rows, and such as lie between two of those that teach: a teacher answers these as well.

    Args:
        rows: all that there are; they come first and stay as they are, with their labels.
        taught: numbers of those that may be mixed.
        times: mixed rows for each of them.
        seed: of the pairs and shares.
    """
    mixable = all(array.dtype.kind == "f" for array in rows.inputs.values())
    count = len(taught) * times if mixable else 0
    if not count:
        return rows
    numbers = np.random.default_rng(seed + 1)
    left, right = numbers.choice(taught, count), numbers.choice(taught, count)
    share = numbers.uniform(0, 0.5, count)
    inputs = {}
    for name, array in rows.inputs.items():
        part = share.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)
        between = array[left] * (1 - part) + array[right] * part
        inputs[name] = np.concatenate([array, between])
    return Rows(inputs, rows.labels, rows.count + count)


def knows_nan(teacher: Teacher, rows: Rows, signature: Signature) -> bool:
    """Whether a model answers rows with missing values, so that its student has to as well."""
    wide = {s.name: s for s in signature.inputs if s.datatype.startswith("FP") and s.allow_nan}
    if not wide:
        return False
    one = {name: array[:1].copy() for name, array in rows.inputs.items()}
    for name in wide:
        one[name][...] = np.nan
    try:
        answers = teacher.answers(one)
    except InvalidError:
        return False
    return all(np.isfinite(each).all() for each in answers.values() if each.dtype.kind == "f")


def scaled(features: Array, scale: Scale) -> Array:
    """Features with mean 0 and spread 1; what is missing is the mean."""
    found = (features - scale.mean) / scale.spread
    return np.ascontiguousarray(np.where(np.isfinite(found), found, 0).astype(np.float32))


def _fold(graph: Graph, first: str, scale: Scale, *, images: bool) -> None:
    """Put the scaling into the first weights: it costs nothing then."""
    weight: Any = graph.weight(first)
    bias_name = first.replace("weight", "bias")
    bias: Any = graph.weight(bias_name)
    if images:
        graph.put(first, weight / scale.spread[0])
        return
    weight = weight.astype(np.float64) / scale.spread[:, None]
    graph.put(bias_name, (bias - scale.mean @ weight).astype(np.float32))
    graph.put(first, weight.astype(np.float32))
