"""Bandits whose reward comes late: which arm the next requests go to.

Sources: Thompson sampling: Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS
2011, with their section 4.3 on delays; delays in general: Joulani, Gyorgy and Szepesvari, "Online
learning under delayed feedback", ICML 2013, section 3; rewards that may still come: Vernade, Cappe
and Perchet, "Stochastic bandit models for delayed conversions", UAI 2017, section 4; UCB: Auer,
Cesa-Bianchi and Fischer, Machine Learning 47 (2002), section 2, and in batches: Desautels, Krause
and Burdick, JMLR 15 (2014), section 4.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.stats.posterior import Beta

DRAWS: Final = 20_000
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Arm:
    """What is known of an arm.

    Attributes:
        rewards: sum of rewards, each 0 to 1.
        resolved: requests whose reward is known; with `seen` also parts of those that may come.
        pending: requests whose reward is not known yet.
    """

    rewards: float
    resolved: float
    pending: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rewards <= self.resolved + 1e-9 or self.pending < 0:
            raise InvalidError("rewards: between 0 and the resolved requests", field="rewards")


def seen(rewards: float, ages: Iterable[float], arrived: Callable[[float], float]) -> Arm:
    """An arm where only a reward is told, and its absence never is (clicks, purchases).

    A request of some age counts as resolved by the chance that its reward would have come by now.

    Args:
        rewards: that have come.
        ages: of all requests, rewarded or not, in seconds.
        arrived: chance that a reward comes within an age, 0 to 1.
    """
    chances = [arrived(age) for age in ages]
    resolved = math.fsum(chances)
    return Arm(min(rewards, resolved), resolved, len(chances) - resolved)


def thompson(
    arms: Sequence[Arm], *, floor: float = 0.0, draws: int = DRAWS, seed: int = 0
) -> tuple[float, ...]:
    """Shares of the next requests: the chance of each arm to be the best one.

    Pending requests say nothing, and change nothing: what is unknown keeps an arm's posterior wide,
    so that a delay spreads the traffic and does not stop it.

    Args:
        arms: as they stand.
        floor: share that no arm falls below.
        draws: from the posteriors; the error of a share is about 0.5 / sqrt(draws).
        seed: of the draws.

    Raises:
        InvalidError: no arm, or a floor that is too high.
    """
    _checked(arms, floor)
    rng = np.random.default_rng(seed)
    beliefs = [Beta().after(arm.rewards, arm.resolved) for arm in arms]
    drawn = np.stack([rng.beta(one.hits, one.misses, draws) for one in beliefs])
    best = np.bincount(drawn.argmax(0), minlength=len(arms)) / draws
    return _floored(best.tolist(), floor)


def ucb(
    arms: Sequence[Arm], *, floor: float = 0.0, batch: int = _BATCH, width: float = 2.0
) -> tuple[float, ...]:
    """Shares of the next requests by upper confidence bounds.

    Requests of the batch go one by one to the arm of the highest bound, and what is pending makes a
    bound narrower though its reward is unknown, so that arms do not all wait for the same one.

    Args:
        arms: as they stand.
        floor: share that no arm falls below.
        batch: requests before the next decision.
        width: of the bound: mean + sqrt(width * log(all) / own).

    Raises:
        InvalidError: no arm, or a floor that is too high.
    """
    _checked(arms, floor)
    means = np.array([arm.rewards / arm.resolved if arm.resolved else 1.0 for arm in arms])
    asked = np.array([arm.resolved + arm.pending for arm in arms], np.float64)
    given = np.zeros(len(arms))
    for _ in range(batch):
        own = np.maximum(asked + given, 1e-9)
        total = max(float(own.sum()), math.e)
        given[int((means + np.sqrt(width * math.log(total) / own)).argmax())] += 1
    return _floored((given / batch).tolist(), floor)


def _checked(arms: Sequence[Arm], floor: float) -> None:
    if not arms:
        raise InvalidError("arms: a bandit has at least one", field="arms")
    if not 0 <= floor * len(arms) <= 1:
        raise InvalidError(f"floor: {floor} for {len(arms)} arms is more than all", field="floor")


def _floored(shares: Sequence[float], floor: float) -> tuple[float, ...]:
    """Each share at least the floor, the rest in proportion."""
    rest = 1 - floor * len(shares)
    return tuple(floor + rest * share for share in shares)
