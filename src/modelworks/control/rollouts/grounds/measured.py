"""What gateways count of deployments: nothing else of a plan would ever be known. Pure."""

from collections.abc import Iterator

from modelworks.core.rollouts import Kind, Metric, Plan
from modelworks.core.rollouts_check import Problem


def problems(plan: Plan) -> Iterator[Problem]:
    """What of a plan among deployments nobody would measure, each with the cure."""
    named = [("primary", plan.primary)]
    named += [(f"guardrails[{place}]", one) for place, one in enumerate(plan.guardrails)]
    for field, metric in named:
        if not _counted(metric):
            words = "among deployments gateways count error_rate and latency_pNN_ms"
            yield field, f"{words}; '{metric.name}' would never be known"
    if plan.slices:
        yield "slices", "gateways look into no request: there are none among deployments"


def _counted(metric: Metric) -> bool:
    if metric.kind is Kind.RATE:
        return metric.name == "error_rate"
    return metric.kind is Kind.QUANTILE and metric.name.startswith("latency_")
