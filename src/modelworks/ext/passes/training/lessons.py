"""How a net learns what a teacher answers: soft targets, labels beside them, and when to stop.

Knowledge distillation as in Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural
Network", section 2: (1 - a) CE(z, y) + a T^2 KL(softmax(zt / T) || softmax(z / T)).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from modelworks.core.errors import CrashedError

UNKNOWN: Final = -1
"""A label that nobody told."""

SMALLEST: Final = 1e-7
"""A probability below it counts as this much."""

_CLIP: Final = 5.0  # norm of the gradient
_CLOSE: Final = 0.1  # weight of the values beside the classes, where they are to be alike


@dataclass(frozen=True, slots=True)
class Target:
    """What one output is to be like.

    Attributes:
        teacher: `[rows, width]`: logits (or logarithms of probabilities), or values.
        labels: class numbers, `UNKNOWN` where nobody told; None = there are none.
        classes: the columns are classes.
        values: the numbers themselves are to be alike, and not only which is the largest.
        logarithm: what the net gives are probabilities.
    """

    teacher: torch.Tensor
    labels: torch.Tensor | None = None
    classes: bool = True
    values: bool = False
    logarithm: bool = False


@dataclass(frozen=True, slots=True)
class Lesson:
    """How to learn.

    Attributes:
        steps: updates at most.
        batch: rows an update.
        rate: of learning, at its highest.
        temperature: of the soft targets.
        alpha: weight of the teacher beside labels; without labels the teacher is all there is.
        patience: share of the steps without progress on the held-out rows that ends it.
        seed: of the order of rows.
    """

    steps: int
    batch: int = 64
    rate: float = 2e-3
    temperature: float = 4.0
    alpha: float = 0.7
    patience: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """How it went.

    Attributes:
        steps: that were made.
        loss: on the held-out rows, at its lowest: that is the state the net is left in.
        first: the same before.
    """

    steps: int
    loss: float
    first: float


def learn(
    net: nn.Module,
    inputs: Sequence[torch.Tensor],
    targets: Sequence[Target],
    held: torch.Tensor,
    lesson: Lesson,
) -> Learned:
    """Train in place, and leave the net in its best state.

    Args:
        net: gives a tensor `[rows, ...]` a target.
        inputs: of all rows, in the order of its arguments.
        targets: of all rows.
        held: numbers of the rows that are judged by and not learned from.
        lesson: how.

    Raises:
        CrashedError: the numbers overflowed before anything was learned.
    """
    parameters = [each for each in net.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lesson.rate, weight_decay=1e-4)
    rows = torch.ones(len(inputs[0]), dtype=torch.bool)
    rows[held] = False
    taught = torch.nonzero(rows).flatten()
    each = max(1, math.ceil(len(taught) / lesson.batch))
    generator = torch.Generator().manual_seed(lesson.seed)

    def judged() -> float:
        with torch.no_grad():
            return float(_loss(net, inputs, targets, held, lesson))

    first = best = now = judged()
    state = _copied(net)
    done = since = 0
    while done < lesson.steps and since < lesson.patience * lesson.steps:
        order = taught[torch.randperm(len(taught), generator=generator)]
        for some in torch.split(order, lesson.batch)[: lesson.steps - done]:
            for group in optimizer.param_groups:
                group["lr"] = _rate(done, lesson)
            optimizer.zero_grad(set_to_none=True)
            _loss(net, inputs, targets, some, lesson).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, _CLIP)
            optimizer.step()
            done += 1
        since += each
        now = judged()
        if now < best:
            best, since, state = now, 0, _copied(net)
        if not math.isfinite(now):
            break
    if not math.isfinite(best) or (not math.isfinite(now) and best >= first):
        raise CrashedError(
            f"training failed: the numbers of the net overflowed within {done} updates; a smaller "
            "rate may do"
        )
    net.load_state_dict(state)
    return Learned(done, best, first)


def _rate(step: int, lesson: Lesson) -> float:
    """Rises over a twentieth, then falls as a cosine does."""
    rise = max(1, lesson.steps // 20)
    if step < rise:
        return lesson.rate * (step + 1) / rise
    share = (step - rise) / max(1, lesson.steps - rise)
    return lesson.rate * (0.5 + 0.5 * math.cos(math.pi * share))


def _loss(
    net: nn.Module,
    inputs: Sequence[torch.Tensor],
    targets: Sequence[Target],
    rows: torch.Tensor,
    lesson: Lesson,
) -> torch.Tensor:
    answers = net(*(each[rows] for each in inputs))
    total = torch.zeros(())
    for answer, target in zip(answers, targets, strict=True):
        total = total + _apart(answer.flatten(1), target, rows, lesson)
    return total


def _apart(
    answer: torch.Tensor, target: Target, rows: torch.Tensor, lesson: Lesson
) -> torch.Tensor:
    wanted = target.teacher[rows]
    if not target.classes:
        return _values(answer, wanted, target.teacher)
    if target.logarithm:
        answer = answer.clamp_min(SMALLEST).log()
    heat = lesson.temperature
    soft = functional.kl_div(
        functional.log_softmax(answer / heat, dim=1),
        functional.log_softmax(wanted / heat, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    loss = heat * heat * soft
    if target.labels is not None:
        told = target.labels[rows]
        if bool((told != UNKNOWN).any()):
            hard = functional.cross_entropy(answer, told, ignore_index=UNKNOWN)
            loss = lesson.alpha * loss + (1 - lesson.alpha) * hard
    if target.values:
        loss = loss + _CLOSE * _values(answer, wanted, target.teacher)
    return loss


def _values(answer: torch.Tensor, wanted: torch.Tensor, every: torch.Tensor) -> torch.Tensor:
    """Mean square of the difference, in units of the teacher's own spread."""
    return functional.mse_loss(answer, wanted) / every.var().clamp_min(1e-12)


def _copied(net: nn.Module) -> dict[str, Any]:
    return {name: value.clone() for name, value in net.state_dict().items()}


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """One thread and drawn numbers that are the same each time; what was set before comes back."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(mode=strict)
        torch.set_num_threads(threads)
