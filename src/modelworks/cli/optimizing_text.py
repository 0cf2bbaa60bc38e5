"""What an optimization found, for people."""

from pathlib import Path

from modelworks.cli import human
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.variants import Ending, Finding, Measurement, Variant
from modelworks.optimize.run import Run
from modelworks.optimize.scoring import ratios
from modelworks.optimize.together import MIXED

_LONGEST = 90
_MOST_PRUNED = 12


def show(out: Output, run: Run) -> None:
    """The variants, what was refused, and the conclusion."""
    source = run.source
    kept = [one for one in run.findings if one.ending is Ending.KEPT]
    if source is not None and kept:
        sizes = [str(time.rows) for time in source.times]
        head = ["variant", "form", *(f"x at {size}" for size in sizes), "size", "memory"]
        out.table(head, [_row(one, source) for one in kept], "")
    for one in run.findings:
        if one.ending in {Ending.REFUSED, Ending.SLOWER, Ending.FAILED}:
            out.note(f"- {one.ending.value}: {_short(one.recipe.title)}: {_short(one.why)}")
            if one.parts:
                out.note(f"  {_short(one.parts)}")
    pruned = [one for one in run.findings if one.ending is Ending.PRUNED]
    for one in pruned[:_MOST_PRUNED]:
        out.note(f"- not tried: {_short(one.recipe.title)}: {_short(one.why)}")
    if len(pruned) > _MOST_PRUNED:
        more = len(pruned) - _MOST_PRUNED
        out.note(f"- {more} more were not tried: modelworks optimize report {run.model} --json")
    alone = [one for one in kept if one.measured and MIXED in one.measured.notes]
    own = () if MIXED in run.notes else (f"{one.variant}: {MIXED}" for one in alone)
    for note in (*own, *run.data.notes, *run.notes):
        out.note(f"- {note}")
    out.line(f"{run.model}: {run.conclusion}")


def _row(one: Finding, source: Measurement) -> list[str]:
    found = one.measured
    if found is None:
        return [one.variant, one.recipe.title]
    told = ratios(found, source)
    speeds = [f"{told.get(f'rows {time.rows}', 0.0):.2f}" for time in source.times]
    sizes = [human.size(found.size_bytes), human.size(found.memory_bytes)]
    return [one.variant, one.recipe.title, *speeds, *sizes]


def explained(variant: Variant) -> list[str]:
    """How a variant came to be, what it gains, what it was proved by."""
    found, source = variant.measurement, variant.source
    lines = [f"{variant.ref}: {variant.recipe.title}"]
    for step in variant.recipe.steps:
        told = ", ".join(f"{name}={value}" for name, value in sorted(step.settings.items()))
        lines.append(f"- pass {step.name}" + (f" with {told}" if told else ""))
        if step.keep:
            lines.append(
                f"  {len(step.keep)} operators stay in float: {_short(', '.join(step.keep))}"
            )
    for time in found.times:
        words = human.count(time.rows, "row")
        lines.append(
            f"- {words}: {time.ratio:.2f} x the source form ({time.low:.2f} to {time.high:.2f}), "
            f"{time.cpu_us[1]:.0f} us of CPU a call, p99 {time.p99_us:.0f} us"
        )
    lines.append(
        f"- {human.size(found.size_bytes)} in place of {human.size(source.size_bytes)}; "
        f"{human.size(found.memory_bytes)} of memory in place of {human.size(source.memory_bytes)}"
    )
    lines += [f"- {gate.name} {gate.verdict.value}: {gate.summary}" for gate in variant.gates]
    lines += [f"- {note}" for note in found.notes]
    hardware = found.hardware
    threads = human.count(found.threads, "thread")
    lines.append(f"- measured on {hardware.processor} ({hardware.kind}), {threads} a call")
    if variant.environment:
        told = ", ".join(f"{name} {at}" for name, at in variant.environment.items())
        lines.append(f"- made with {told}")
    return lines


def page_of(run: Run) -> str:
    """The page of a run."""
    from modelworks.optimize.page import html

    return html(run)


def plots_of(run: Run, path: Path) -> None:
    """The plots of a run as one picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidError: the file cannot be written, or nothing was measured.
    """
    from modelworks.measure.picture import write_png
    from modelworks.optimize.page import charts_of

    charts = charts_of(run)
    if not charts:
        raise InvalidError(
            "nothing was measured in that run: there is nothing to plot", field="png"
        )
    write_png(path, f"Optimizing {run.model}", charts)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST * 2 else f"{text[: _LONGEST * 2 - 3]}..."
