"""A plan in words, for somebody who reads no manifest. Pure."""

from collections.abc import Iterator

from modelworks.control.rollouts.report.figures import share, span
from modelworks.core.rollouts import Direction, Kind, Metric, Plan, Strategy
from modelworks.rollout.findings import superior

_STRATEGIES = {
    Strategy.CANARY: "step by step",
    Strategy.BLUE_GREEN: "all at once, after it was judged without traffic of its own",
    Strategy.EXPERIMENT: "in fixed shares, until one is proved to be better",
    Strategy.SHADOW: "as copies only: no answer of it reaches a caller",
    Strategy.BANDIT: "in shares that follow what each earns",
}


def said(plan: Plan) -> tuple[str, ...]:
    """What a plan does and what it may risk, a sentence a line."""
    return tuple(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    tried = " and ".join(plan.candidates)
    yield (
        f"{plan.strategy}: traffic of {plan.route} goes to {tried} beside {plan.stable}, "
        f"{_STRATEGIES[plan.strategy]}"
    )
    for number, step in enumerate(plan.steps, 1):
        wants = [f"{share(step.share)} of the traffic" if step.share else "no traffic, copies only"]
        if step.bake_s:
            wants.append(f"for {span(step.bake_s)} at least")
        if step.sample:
            wants.append(f"{step.sample} requests of the new version at least")
        yield f"step {number} of {len(plan.steps)}: {', '.join(wants)}"
    better = " and has to be better" if superior(plan) else ""
    yield f"primary: {_metric(plan.primary)}{better}"
    for guard in plan.guardrails:
        yield f"guardrail: {_metric(guard)}"
    if plan.slices:
        yield f"the primary is held in each slice too: {', '.join(plan.slices)}"
    if plan.labels:
        yield f"the truth of {share(plan.labels)} of the answers is expected to come"
    if plan.replay:
        yield f"before: {plan.replay:g} h of recorded traffic are played to the new version"
    yield (
        f"risk: at most {share(plan.false_rollback)} of versions that are no worse are rolled "
        f"back, at most {share(plan.false_promotion)} of those that are worse are promoted, "
        "however often anybody looks"
    )
    yield f"promoted with {plan.sample} requests of the new version at least"
    yield f"after {span(plan.most_s)} without a proof: {plan.on_inconclusive}"


def _metric(metric: Metric) -> str:
    way = "higher" if metric.direction is Direction.HIGHER else "lower"
    return f"{metric.name}, {way} is better; {margin(metric)}"


def margin(metric: Metric) -> str:
    """How much worse is allowed."""
    if not metric.margin:
        return "nothing worse allowed"
    if metric.relative:
        return f"{share(metric.margin)} worse allowed"
    if metric.kind is Kind.RATE:
        unit = "%" if metric.absolute else "points"
        number = f"{100 * metric.margin:.3g} {unit}"
        if number == "1 points":
            number = "1 point"
    else:
        number = f"{metric.margin:.3g}" + (" ms" if metric.name.endswith("_ms") else "")
    return f"at most {number} allowed" if metric.absolute else f"{number} worse allowed"
