"""`experiment`: how many requests a comparison takes, and how long, before it is begun."""

import math
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option, platform
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.stats.designs.sizes import Question


@click.group()
def experiment() -> None:
    """Plan a comparison of two versions.

    Example: modelworks experiment power --rate 0.02 --margin 0.005
    """


@experiment.command()
@click.option("--rate", type=float, help="The stable version's rate, 0 to 1 (errors, clicks).")
@click.option("--deviation", type=float, help="Of a figure that is no rate: standard deviation.")
@click.option("--effect", default=0.0, help="How far the candidate really is better.")
@click.option("--margin", default=0.0, help="How much worse is not yet harm: non-inferiority.")
@click.option("--share", default=0.5, show_default=True, help="Of the traffic, to the candidate.")
@click.option("--alpha", default=0.05, show_default=True, help="Chance of a false finding.")
@click.option("--power", "wanted", default=0.8, show_default=True, help="Chance of a true one.")
@click.option("--per-second", default=0.0, help="Requests of both: says how long it takes.")
@click.option("--looks", default=5, show_default=True, type=click.IntRange(1, 200))
@click.option("--requests", default=0, help="Say what so many requests of both find, instead.")
@json_option
def power(  # noqa: PLR0913, PLR0917 - click's parameters
    rate: float | None,
    deviation: float | None,
    effect: float,
    margin: float,
    share: float,
    alpha: float,
    wanted: float,
    per_second: float,
    looks: int,
    requests: int,
    as_json: bool,
) -> None:
    """Say how many requests it takes to find an effect, or to prove that there is no harm.

    One-sided, for each way to decide: one look at the end, a few planned ones, or at any time.

    Example: modelworks experiment power --rate 0.02 --margin 0.005 --share 0.1 --per-second 50
    """
    with platform("experiment power"):
        from modelworks.stats.designs import sizes
    question = _question(rate, deviation, effect + margin, (share, alpha, wanted))
    out = Output(as_json=as_json)
    if requests:
        chances = {
            str(method): sizes.power(question, requests, method, looks=looks)
            for method in sizes.Method
        }
        if as_json:
            out.document({"requests": requests, "power": chances})
        else:
            rows = [(name, f"{chance:.1%}") for name, chance in chances.items()]
            out.table(("decided", "power"), rows, "")
        return
    plans = [
        sizes.plan(question, method, looks=looks, per_second=per_second) for method in sizes.Method
    ]
    if as_json:
        found = [codec.encode(plan) for plan in plans]
        for plan in found:
            for name in ("seconds", "expected_seconds"):
                plan[name] = plan[name] if math.isfinite(plan[name]) else None
        out.document(found)
        return
    out.table(
        ("decided", "requests", "candidate", "on average", "takes", "on average"),
        [
            (
                *(str(plan.method), f"{plan.rows:,}", f"{plan.candidate:,}", f"{plan.expected:,}"),
                *(_time(plan.seconds), _time(plan.expected_seconds)),
            )
            for plan in plans
        ],
        "",
    )


def _question(
    rate: float | None, deviation: float | None, apart: float, about: tuple[float, float, float]
) -> "Question":
    from modelworks.stats.designs.sizes import Question

    if (rate is None) == (deviation is None):
        raise InvalidError("give --rate of a share, or --deviation of any other figure")
    if not apart > 0:
        raise InvalidError("give --effect that is to be found, --margin that is allowed, or both")
    if rate is None:
        variance = (deviation or 0.0) ** 2
    elif 0 < rate < 1:
        variance = rate * (1 - rate)
    else:
        raise InvalidError(f"--rate: {rate} is not between 0 and 1", field="rate")
    return Question(apart, variance, variance, *about)


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-"
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {word}"
    return f"{seconds:.0f} s"
