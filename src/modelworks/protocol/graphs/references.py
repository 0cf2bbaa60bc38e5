"""What steps of a graph use of each other, before anything is known of their tensors."""

from collections.abc import Iterable

from modelworks.core.graphs import (
    Branch,
    ModelStep,
    Named,
    OperationStep,
    Ref,
    SplitStep,
    Step,
    SwitchStep,
)


def refs_of(step: Step) -> Iterable[Ref]:
    """What a step uses itself, and what its branches take from outside them."""
    if isinstance(step, ModelStep | OperationStep):
        yield from (ref for _, ref in step.inputs)
        return
    if isinstance(step, SwitchStep):
        yield step.on
    elif step.key is not None:
        yield step.key
    for branch in step.branches:
        for ref in _branch_refs(branch):
            if ref.step not in {inner.name for inner in branch.steps}:
                yield ref


def _branch_refs(branch: Branch) -> Iterable[Ref]:
    for step in branch.steps:
        yield from refs_of(step)
    yield from (ref for _, ref in branch.outputs)


def needs_of(step: Step) -> set[str]:
    """Names of the steps that a step waits for."""
    return {ref.step for ref in refs_of(step) if ref.step}


def reach(steps: tuple[Step, ...], outputs: Named, used: set[str], sent: set[str]) -> None:
    """Note the steps and inputs that outputs depend on."""
    known = {step.name: step for step in steps}
    todo = [ref for _, ref in outputs]
    while todo:
        ref = todo.pop()
        if not ref.step:
            sent.add(ref.name)
        step = known.get(ref.step)
        if step is None or step.name in used:
            continue
        used.add(step.name)
        if isinstance(step, SwitchStep | SplitStep):
            for branch in step.branches:
                reach(branch.steps, branch.outputs, used, sent)
        todo += refs_of(step)
