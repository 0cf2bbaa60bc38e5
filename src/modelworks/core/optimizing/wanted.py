"""How a form of a version is asked for: by its name, or by what it is to be best at."""

from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.variants import SOURCE, Objective
from modelworks.core.reference import variant_name

GOALS: Final = {
    "fastest": Objective.P99,
    "throughput": Objective.THROUGHPUT,
    "smallest": Objective.SIZE,
    "memory": Objective.MEMORY,
    "energy": Objective.ENERGY,
    "cost": Objective.COST,
}
"""What a form is to be best at, in a user's words."""

RESERVED: Final = frozenset({SOURCE, *GOALS, *(one.value for one in Objective)})
"""Words that are no name of a variant: a reference with one of them would mean two things."""


def check_name(text: str) -> str:
    """The name of a new variant.

    Raises:
        InvalidError: no such form, or a word that means something else.
    """
    if text in RESERVED:
        raise InvalidError(
            f"a variant cannot be called '{text}': that word asks for one by what it is best at",
            field="name",
        )
    return variant_name(text)


def check_wanted(text: str) -> str:
    """What is asked for: `source`, a goal, or a name.

    Raises:
        InvalidError: it can be none of them.
    """
    return text if text in GOALS or text == SOURCE else check_name(text)
