"""Among versions of one model: aliases have them served, and one file of routes parts callers."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from modelworks.control.rollouts import routes
from modelworks.control.rollouts.grounds.ground import arms_of
from modelworks.control.rollouts.kept import Asked, Kept
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.model import Alias, ModelVersion
from modelworks.core.rollouts import Phase, Plan, Strategy

CHAMPION: Final = "champion"
_LETTERS: Final = "abcdefghijklmnop"


class Registry(Protocol):
    """Who knows the models."""

    def show(self, ref: str) -> ModelVersion:
        """One version."""
        ...

    def set_alias(self, name: str, alias: str, version: str, reason: str = "") -> Alias:
        """Move an alias."""
        ...

    def remove_alias(self, name: str, alias: str, reason: str = "") -> None:
        """Take one away."""
        ...


class Versions:
    """Fulfils `Ground`.

    Args:
        registry: of the models.
        file: snapshot of routes that the servers of `up` follow.
    """

    def __init__(self, registry: Registry, file: Path) -> None:
        self._registry = registry
        self._file = file

    def check(self, plan: Plan, asked: Asked) -> Asked:
        """See `Ground`."""
        for name in arms_of(plan):
            version = self._registry.show(f"{plan.route}:{name}")
            if str(version.version) != name:
                words = f"'{name}': write the version as '{version.version}'"
                raise InvalidError(words, field="stable" if name == plan.stable else "candidates")
        answers = self._registry.show(f"{plan.route}")
        with suppress(NotFoundError):  # a model without a champion is answered by its latest
            answers = self._registry.show(f"{plan.route}@{CHAMPION}")
        if str(answers.version) != plan.stable:
            raise ConflictError(
                f"stable: '{plan.route}' is answered by {answers.version}, not by {plan.stable}: "
                f"`modelworks alias set {plan.route}@{CHAMPION} {plan.stable}`, or name it",
                field="stable",
            )
        return asked

    def prepare(self, plan: Plan) -> None:
        """See `Ground`: an alias makes `up` serve and load a version beside the champion."""
        for letter, name in zip(_LETTERS, plan.candidates, strict=False):
            alias = _alias(plan, letter)
            self._registry.set_alias(plan.route, alias, name, f"roll-out '{plan.name}'")

    def carry_out(self, holding: Sequence[Kept]) -> None:
        """See `Ground`: one file, replaced as a whole."""
        routes.write(self._file, holding)

    def settle(self, kept: Kept) -> None:
        """See `Ground`: the alias of who won, and those of the candidates away."""
        plan = kept.rollout.plan
        won = max(kept.shares, key=lambda arm: kept.shares[arm])
        if kept.rollout.phase is Phase.PROMOTED and plan.strategy is not Strategy.SHADOW:
            reason = f"roll-out '{plan.name}': {kept.rollout.reason}"[:500]
            self._registry.set_alias(plan.route, CHAMPION, won, reason)
        for letter, _ in zip(_LETTERS, plan.candidates, strict=False):
            with suppress(NotFoundError):  # somebody took it away
                self._registry.remove_alias(plan.route, _alias(plan, letter), "it is over")


def _alias(plan: Plan, letter: str) -> str:
    return "challenger" if len(plan.candidates) == 1 else f"challenger-{letter}"
