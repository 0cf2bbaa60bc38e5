"""A roll-out in a terminal: its steps, its shares, each interval as a bar. Pure."""

import math
from typing import TYPE_CHECKING, Final

from modelworks.cli import human
from modelworks.cli.output import Output

if TYPE_CHECKING:
    from modelworks.control.rollouts.kept import Kept
    from modelworks.core.rollouts import Finding

_WIDTH: Final = 33
_NS: Final = 1e9


def show(out: Output, found: "list[Kept]", now_ns: int) -> None:
    """A line each, and why they stand where they stand."""
    from modelworks.control.rollouts.report.figures import share

    rows = []
    for one in found:
        state = one.rollout
        shares = ", ".join(f"{arm} {share(part)}" for arm, part in one.shares.items())
        step = f"{state.step + 1}/{len(state.plan.steps)}"
        when = human.when(state.changed_ns, now_ns)
        rows.append((state.plan.name, state.plan.route, state.phase.value, step, shares, when))
    heads = ("rollout", "route", "phase", "step", "shares", "changed")
    out.table(heads, rows, "no roll-outs: modelworks rollout start -f FILE")
    for one in found:
        if one.rollout.reason:
            out.line(f"{one.rollout.plan.name}: {one.rollout.reason}")


def findings(out: Output, kept: "Kept") -> None:
    """The findings of the last look, each with a bar."""
    from modelworks.control.rollouts.report.figures import HEAD, findings_rows

    verdict = kept.rollout.verdict
    found = verdict.findings if verdict else ()
    rows = findings_rows(kept.rollout.plan, found)
    heads = (*HEAD, "better | worse, ! allowed")
    told = [[*row, bar(one)] for row, one in zip(rows, found, strict=True)]
    out.table(heads, told, "nothing was judged yet")


def steps(kept: "Kept", now_ns: int) -> str:
    """`steps: 5 % > [50 %, 2 min of 10 min] > 100 %`."""
    from modelworks.control.rollouts.report.figures import share, span

    state = kept.rollout
    told = []
    for number, step in enumerate(state.plan.steps):
        words = share(step.share) if step.share else "copies"
        if number == state.step and state.step_ns:
            end = kept.ended_ns or now_ns
            stood = span(max(0.0, float(int((end - state.step_ns) / _NS))))
            words = f"[{words}, {stood} of {span(step.bake_s)}]" if step.bake_s else f"[{words}]"
        told.append(words)
    return f"steps: {' > '.join(told)}"


def bar(finding: "Finding") -> str:
    """An interval as text: `=` from end to end, `o` the difference, `|` none, `!` the margin.

    The margin stands at three quarters of the width; what is farther away is cut.
    """
    low, high = finding.low, finding.high
    if low is None and high is None:
        return ""
    half = (_WIDTH - 1) // 2
    unit = abs(finding.margin) or max(abs(finding.difference), 1e-12)

    def place(value: float) -> int:
        if not math.isfinite(value):
            return 0 if value < 0 else _WIDTH - 1
        return min(max(round(half + value / unit * half / 2), 0), _WIDTH - 1)

    cells = ["."] * _WIDTH
    first = 0 if low is None else place(low)
    last = _WIDTH - 1 if high is None else place(high)
    cells[first : last + 1] = "=" * (last - first + 1)
    cells[half] = "|"
    if finding.margin:
        cells[place(finding.margin)] = "!"
    cells[place(finding.difference)] = "o"
    return "".join(cells)
