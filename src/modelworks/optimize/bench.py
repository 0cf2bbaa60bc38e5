"""What the search asks of the world: make a form, time it, judge it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelworks.core.optimizing.passes import Applied
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Gate, Measurement
from modelworks.optimize.applying import Failure, Say
from modelworks.optimize.forms import Form


@dataclass(frozen=True, slots=True)
class Timed:
    """Forms and the source form, measured in the same rounds.

    Attributes:
        source: the source form.
        forms: in the order in which they were given; a text = why one could not be measured.
        notes: about the measurement, one sentence each.
    """

    source: Measurement
    forms: tuple[Measurement | str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gates say of a form.

    Attributes:
        gates: in the order in which they were tried.
        worst: rows whose answers differ most.
    """

    gates: tuple[Gate, ...]
    worst: tuple[dict[str, Any], ...] = ()


class Bench(Protocol):
    """Where forms are made, timed and judged. Every verb ends by the time that it is given."""

    def make(self, recipe: Recipe, until: float, say: Say) -> Form | Failure:
        """The form of a recipe: passes, or parts side by side.

        Args:
            recipe: what was made before is not made again.
            until: monotonic seconds.
            say: told what is done.
        """
        ...

    def applied(self, recipe: Recipe) -> Applied | None:
        """What the last pass of a recipe that was made said."""
        ...

    def let_go(self, recipe: Recipe) -> None:
        """Say that a recipe's form is used no more for now: its files may go for others."""
        ...

    def timed(self, forms: Sequence[Form], seconds: float) -> Timed:
        """Time forms beside the source form for about so long.

        Raises:
            ModelworksError: the source form cannot be run.
        """
        ...

    def looked(self, form: Form, until: float) -> Judgement:
        """Glance at a form's answers to rows that do not decide; see `glancing`.

        Raises:
            ModelworksError: the form does not load or does not answer.
        """
        ...

    def judged(self, form: Form, until: float, level: float = 0.0) -> Judgement:
        """Hold a form's answers to the rows that decide against the source form's and the truth.

        Args:
            form: that was chosen by other rows (`proving`).
            until: monotonic seconds.
            level: chance of an error that may be taken; 0 = the goal's, for one form alone.

        Raises:
            ModelworksError: the form does not load or does not answer.
        """
        ...

    def parts(self, form: Form, seconds: float) -> str:
        """Where the values of a refused form part from the source form's; "" = it cannot be told.

        It never raises: what explains a refusal must not become another one.

        Args:
            form: that was refused.
            seconds: that may be spent on it.
        """
        ...

    def difference(self, form: Form, until: float) -> float:
        """How far a form's answers to a few rows are from the source form's; 0 = not at all.

        Raises:
            ModelworksError: the form does not load or does not answer.
        """
        ...
