"""How far the replays are that a roll-out wants before its first step."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from modelworks.core.rollouts import Plan


@dataclass(frozen=True, slots=True)
class Standing:
    """Both empty = all are made, and nothing is wrong.

    Attributes:
        waits: what is waited for.
        fails: why the candidate goes no further.
    """

    waits: str = ""
    fails: str = ""


class Replays(Protocol):
    """Who plays recorded traffic to candidates before their first step."""

    def __call__(self, plan: Plan) -> Standing:
        """Look, and begin what is to be begun; never waits."""
        ...

    def keep(self, names: Collection[str]) -> None:
        """End those of all other roll-outs."""
        ...


class NoReplays:
    """Nobody plays: a plan that wants it goes no further."""

    def __call__(self, plan: Plan) -> Standing:
        """See `Replays`."""
        return Standing(fails=f"'{plan.name}' wants a replay, and nobody here makes one")

    def keep(self, names: Collection[str]) -> None:
        """See `Replays`."""
