"""What differs between roll-outs among versions of a model and among deployments."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from modelworks.control.rollouts.evidence import Seen
from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.core.rollouts import Plan


class Among(StrEnum):
    """What the arms of a roll-out are."""

    VERSIONS = "versions"  # of the model that the plan's route names, in the servers of `up`
    DEPLOYMENTS = "deployments"  # of the manifest's route of that name, behind gateways


def among(plan: Plan) -> Among:
    """By the stable arm: no name of a deployment begins with a digit, and every version does."""
    return Among.VERSIONS if plan.stable[:1].isdigit() else Among.DEPLOYMENTS


def same_route(one: Plan, other: Plan) -> bool:
    """Whether two move the same traffic: a model may be called as a route of the manifest is."""
    return one.route == other.route and among(one) is among(other)


def arms_of(plan: Plan) -> tuple[str, ...]:
    """All of them, the stable one first."""
    return (plan.stable, *plan.candidates)


class Ground(Protocol):
    """What the verbs ask of it."""

    def check(self, plan: Plan, asked: Asked) -> Asked:
        """Refuse what cannot be carried out here; how the route will part callers.

        Raises:
            InvalidError: the plan asks for what is not to be had; `field` names it.
            NotFoundError: no such route or arm.
            ConflictError: the stable arm is not the one that answers.
        """
        ...

    def prepare(self, plan: Plan) -> None:
        """Have the candidates where they can be loaded and warmed, without a request."""
        ...

    def carry_out(self, holding: Sequence[Kept]) -> None:
        """Put the shares of its roll-outs in force, all that have a route to themselves."""
        ...

    def settle(self, kept: Kept) -> None:
        """After its end: who won answers from now on without the roll-out. Twice is once."""
        ...


Look = Callable[[Kept], Sequence[Seen]]
"""What was counted of a roll-out's arms, at one time."""


class Sight(Protocol):
    """What the worker asks of it."""

    def unready(self, plan: Plan) -> str:
        """Which arm is not loaded and warm, and why; empty = all are."""
        ...

    def look(self, plans: Sequence[Plan]) -> Look:
        """Ask everybody who counts, once for all roll-outs.

        Args:
            plans: of those that are looked at.
        """
        ...


Grounds = Mapping[Among, Ground]
Sights = Mapping[Among, Sight]
