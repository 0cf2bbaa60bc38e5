"""Which plan is drilled, and of which version. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from modelworks.core.errors import NotFoundError
from modelworks.core.model import ModelVersion
from modelworks.core.rollouts import Direction, Kind, Metric, Plan, Step, Strategy

USUAL: Final = Plan(
    name="",
    route="",
    stable="",
    candidates=("broken",),
    strategy=Strategy.CANARY,
    steps=(Step(0.1, 60.0, 100), Step(0.5, 60.0), Step(1.0, 60.0)),
    primary=Metric("error_rate", Kind.RATE, Direction.LOWER, 0.01),
    guardrails=(Metric("latency_p99_ms", Kind.QUANTILE, Direction.LOWER, 0.5, relative=True),),
)
"""Where a model has had no roll-out yet: it is blind to wrong answers, and the drill says so."""

Show = Callable[[str], ModelVersion]


def of_rollout(name: str, plans: Sequence[Plan], show: Show) -> Plan:
    """The plan of a roll-out, or of a model.

    Args:
        name: of either.
        plans: of every roll-out, the newest first.
        show: one version.

    Raises:
        NotFoundError: neither is known.
    """
    named = next((plan for plan in plans if plan.name == name), None)
    if named is not None:
        return named
    newest = next((plan for plan in plans if plan.route == name), USUAL)
    try:
        return of_model(name, newest, show)
    except NotFoundError as error:
        raise NotFoundError(f"no roll-out and no model '{name}'", field="name") from error


def of_model(name: str, plan: Plan, show: Show) -> Plan:
    """A plan, of the version of a model that answers now.

    Args:
        name: of the model.
        plan: whatever its route and its arms are.
        show: one version.

    Raises:
        NotFoundError: no such model.
    """
    try:
        version = show(f"{name}@champion")
    except NotFoundError:  # it is answered by its latest
        version = show(name)
    return replace(plan, route=version.name, stable=str(version.version))
