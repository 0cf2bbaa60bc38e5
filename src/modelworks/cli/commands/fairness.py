"""`fairness`: decisions compared between groups, and held against limits."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.explaining import finite, interval
from modelworks.cli.output import Output
from modelworks.cli.tables import read_table
from modelworks.core import codec
from modelworks.core.errors import InvalidError

if TYPE_CHECKING:
    from modelworks.evaluation.fairness import Fairness


@click.command()
@click.option("--predictions", type=click.Path(path_type=Path), required=True, help="A table.")
@click.option("--group", required=True, metavar="COL", help="Whose values are the groups.")
@click.option("--label", default="", metavar="COL", help="What the model said.")
@click.option("--score", default="", metavar="COL", help="Probability of the positive class.")
@click.option("--truth", default="", metavar="COL", help="What was right.")
@click.option("--positive", default="", help="The class that counts (default: the greater one).")
@click.option("--threshold", default=0.5, show_default=True, help="Of --score, without --label.")
@click.option("--smallest", default=20, show_default=True, help="Rows that a group has at least.")
@click.option("--gate", "gates", multiple=True, metavar="MEASURE=LIMIT", help="Such as max_gap=0.1")
@click.option("--allow-inconclusive", is_flag=True, help="Only a gate that surely fails fails.")
@json_option
def fairness(  # noqa: PLR0913, PLR0917 - click's parameters
    predictions: Path,
    group: str,
    label: str,
    score: str,
    truth: str,
    positive: str,
    threshold: float,
    smallest: int,
    gates: tuple[str, ...],
    allow_inconclusive: bool,
    as_json: bool,
) -> int:
    """Compare a model's decisions between groups; with --gate exit code 9 where a limit is broken.

    A gate passes where the whole interval keeps the limit, fails where none of it does, and is
    inconclusive in between: that ends with 1 too, unless --allow-inconclusive is given. Gaps have a
    limit above (demographic_parity, equal_opportunity, false_positive_rate, predictive_parity,
    equalized_odds, calibration, max_gap), selection_ratio one below (four fifths: 0.8).

    \b
    modelworks fairness --predictions f.csv --group sex --truth y --label yhat --gate max_gap=0.1
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    with platform("fairness"):
        from modelworks.evaluation import fairness as rules
    if not label and not score:
        raise click.UsageError("give --label or --score, what the model said")
    limits = dict(map(_gate, gates))
    table = read_table(predictions, "predictions")
    said = _column(table, label or score)
    scores = _numbers(table, score) if score else None
    known = _column(table, truth) if truth else None
    yes = _positive(positive, [said if label else None, known])
    chosen = _is(said, yes) if scores is None or label else scores >= threshold
    found = rules.fairness(
        group,
        _column(table, group).tolist(),
        chosen,
        truth=None if known is None else _is(known, yes),
        scores=scores,
        smallest=smallest,
    )
    judged = rules.judge(found, limits)
    out = Output(as_json=as_json)
    if as_json:
        out.document(finite(codec.encode({"fairness": found, "gates": list(judged)})))
    else:
        _show(out, found)
        for gate in judged:
            estimate = gate.measure.estimate
            out.line(
                f"gate {gate.name} {gate.limit:g}: {gate.decision} "
                f"({estimate.value:.3g}, {interval(estimate)})"
            )
    bad = {rules.Decision.FAILED}
    if not allow_inconclusive:
        bad.add(rules.Decision.INCONCLUSIVE)
    return Exit.GATE if any(gate.decision in bad for gate in judged) else Exit.OK


def _show(out: Output, found: "Fairness") -> None:
    names = list(found.groups[0].rates)
    rows = [
        [group.name, str(group.count)]
        + [f"{group.rates[name].value:.3f} ({interval(group.rates[name])})" for name in names]
        for group in found.groups
    ]
    out.table([found.by, "rows", *[name.replace("_", " ") for name in names]], rows, "no groups")
    out.line()
    rows = [
        [
            measure.name,
            "-" if math.isnan(measure.estimate.value) else f"{measure.estimate.value:.3f}",
            interval(measure.estimate),
            " / ".join(measure.between),
        ]
        for measure in found.measures
    ]
    out.table(["measure", "value", "95 % interval", "between"], rows, "nothing")
    if found.left_out:
        out.note(f"left out, too few rows: {', '.join(found.left_out)}")


def _gate(text: str) -> tuple[str, float]:
    name, _, limit = text.partition("=")
    try:
        return name, float(limit)
    except ValueError as error:
        raise InvalidError(f"--gate {text}: MEASURE=LIMIT is wanted", field="gate") from error


def _column(table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise InvalidError(
            f"no column '{name}'; there are {', '.join(list(table)[:20])}", field=name
        )
    return table[name]


def _numbers(table: dict[str, Any], name: str) -> Any:
    column = _column(table, name)
    if column.dtype.kind not in "fib" or not (column == column).all():  # noqa: PLR0124 - NaN
        raise InvalidError(f"column '{name}' has cells that are no numbers", field=name)
    return column.astype(float)


def _positive(given: str, columns: list[Any]) -> str:
    """The class that counts, as text."""
    seen = sorted({_text(item) for column in columns if column is not None for item in column})
    if not given and len(seen) > 2:
        raise InvalidError(
            f"{len(seen)} classes ({', '.join(seen[:5])}): name the one that counts by --positive",
            field="positive",
        )
    if given and given not in seen:
        raise InvalidError(
            f"no class '{given}'; there are {', '.join(seen[:20])}", field="positive"
        )
    if given or not seen:
        return given
    return {"0": "1", "False": "True"}.get(seen[-1], seen[-1]) if len(seen) == 1 else seen[-1]


def _is(column: Any, wanted: str) -> Any:
    import numpy as np

    return np.array([_text(item) == wanted for item in column.tolist()])


def _text(item: Any) -> str:
    value = item.item() if hasattr(item, "item") else item
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
