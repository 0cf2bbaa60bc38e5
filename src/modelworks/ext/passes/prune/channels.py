"""Takes channels out of a net by torch-pruning, teaches what is left, and writes the same graph.

Importance is the norm of a group of weights that only goes together: Fang et al. (2023), "DepGraph:
Towards Any Structural Pruning".
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
import torch_pruning

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes.training.aims import aims, likeness, refuse_apart, targets, told
from modelworks.ext.passes.training.graphs import Graph, read_graph, write_graph
from modelworks.ext.passes.training.lessons import Lesson, learn, repeatable
from modelworks.ext.passes.training.net import Net
from modelworks.ext.passes.training.rows import read_rows, split
from modelworks.ext.passes.training.teacher import asked, asked_graph

_HELD: Final = 0.2  # share of the rows that judge and do not teach


def prune(facts: PassFacts, job: PassJob) -> Applied:
    """The work of `PruneChannels.apply`; see there."""
    graph = read_graph(facts, job)
    was = weights_of(graph)
    signature = own_signature(job.source, job.signature)
    rows = read_rows(job, facts.name)
    _, held = split(rows.count, _HELD, job.seed)
    with asked(job.source, signature, job.threads) as teacher:
        answers = teacher.answers(rows.inputs)
    found = aims(graph, signature, rows.labels)
    inputs = [torch.from_numpy(np.array(rows.inputs[s.name])) for s in signature.inputs]
    with repeatable(job.seed):
        net = Net(graph, [s.name for s in signature.inputs], [aim.tensor for aim in found])
        refuse_apart(net, inputs, found, answers)
        goals = targets(found, answers, rows.labels, signature, job.settings["alpha"])
        learned = [
            learn(net, inputs, goals, torch.from_numpy(held), lesson)
            for lesson in _rounds(net, inputs, job)
        ]
        net.store()
    with asked_graph(graph, job.threads) as pruned:
        got = pruned.answers(rows.take(held).inputs)
    alike = likeness(found, {name: each[held] for name, each in answers.items()}, got)
    left = weights_of(graph)
    first = (
        f"{was} weights became {left}, in {len(learned)} rounds of training of "
        f"{sum(each.steps for each in learned)} updates together"
    )
    notes = (first, *told(alike, len(held), labelled=rows.labels is not None))
    figures = {"weights_before": float(was), "weights": float(left), "rows": float(len(held))}
    return write_graph(graph, job, (), notes, figures | alike)


def _rounds(net: Net, inputs: Sequence[torch.Tensor], job: PassJob) -> Any:
    """A lesson after each time that channels have gone."""
    settings = job.settings
    example = tuple(each[:2] for each in inputs)
    rounds = settings["rounds"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of tracing
        pruner = torch_pruning.pruner.BasePruner(
            net,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=settings["ratio"],
            ignored_layers=net.heads(),
            round_to=settings["round_to"],
            iterative_steps=rounds,
            forward_fn=lambda module, given: module(*given),
        )
    lesson = Lesson(
        max(1, settings["steps"] // rounds),
        rate=settings["rate"],
        temperature=settings["temperature"],
        alpha=settings["alpha"],
    )
    before = sum(each.numel() for each in net.parameters())
    for place in range(rounds):
        pruner.step()
        yield replace(lesson, seed=job.seed + place)
    if sum(each.numel() for each in net.parameters()) == before:
        raise UnsupportedError("no channel could be taken out: each one is answered, or too few")


def weights_of(graph: Graph) -> int:
    """Numbers in all constants of floating point."""
    found = (graph.weight(one.name) for one in graph.model.graph.initializer)
    return sum(each.size for each in found if each is not None and each.dtype.kind == "f")
