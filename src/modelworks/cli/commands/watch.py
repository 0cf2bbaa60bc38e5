"""`watch`: what the models do, live or over a span; what they are compared with."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli import human
from modelworks.cli.context import json_option, watching
from modelworks.cli.output import Output
from modelworks.core.ids import iso, now_ns

if TYPE_CHECKING:
    from modelworks.control.watching.board import Board
    from modelworks.measure.charts import Chart

_EVERY_S = 5.0


@click.command()
@click.argument("model", required=False, default="")
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="How far back.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with plots.")
@click.option("--once", is_flag=True, help="Print once, and end (in a pipe: always).")
@json_option
def watch(model: str, since: str, page: Path | None, once: bool, as_json: bool) -> None:
    """Show requests, latency, errors, drift, quality and alerts of MODEL, or of all.

    A terminal shows it anew every five seconds until Ctrl-C. What is shown is what the worker of
    `modelworks up` found; its duties are listed where one fails.

    Examples: modelworks watch; modelworks watch fraud --since 7d --html fraud.html
    """
    from modelworks.control.watching.curves import charts
    from modelworks.control.watching.spans import seconds_of

    out = Output(as_json=as_json)
    length = seconds_of(since)
    live = not (as_json or once or page) and _terminal()
    with watching() as verbs, suppress(KeyboardInterrupt):
        while True:
            now = time.time()
            found = verbs.board(model, now - length, now)
            if page is not None:
                drawn = charts(verbs.series, model, now - length, now)
                _write(page, found, drawn, model or "All models")
                return out.document({"page": str(page)}) if as_json else out.line(str(page))
            if as_json:
                return out.document(found)
            if live:
                click.clear()
            _show(out, found, since)
            if not live:
                return None
            time.sleep(_EVERY_S)
    return None


def _heads(since: str) -> list[str]:
    counted = f"requests {since}".strip()
    counts = [counted, "now/s", "errors", "rejected", "invalid"]
    return ["model", *counts, "p50", "p99", "drift", "loss", "quality"]


def _rows(found: "Board") -> list[list[str]]:
    return [
        [
            f"{line.model}:{line.version}" + (f" @{line.deployment}" if line.deployment else ""),
            f"{line.requests:.0f}",
            f"{line.rate:.3g}",
            f"{line.errors:.0f}",
            f"{line.rejected:.0f}",
            f"{line.invalid:.0f}",
            _ms(line.p50_ms),
            _ms(line.p99_ms),
            "-" if line.drift is None else f"{line.drift:.3f} {line.drifted}",
            "-" if line.loss is None else f"{line.loss:+.4f}",
            ", ".join(f"{name} {value:.4g}" for name, value in line.quality.items()) or "-",
        ]
        for line in found.lines
    ]


def _show(out: Output, found: "Board", since: str) -> None:
    empty = "nothing was seen yet; it is the worker that looks: modelworks up"
    out.table(_heads(since), _rows(found), empty)
    for alert in found.alerts:
        out.line(f"{alert.state.value} {alert.severity.value}: {alert.rule}: {alert.summary}")
    if found.machine:
        told = (f"{k.removeprefix('host_')} {v:.2f}" for k, v in found.machine.items())
        out.line("machine: " + ", ".join(told))
    for duty in found.duties:
        if duty.error:
            when = human.when(duty.ran_ns, now_ns()) if duty.ran_ns else "never"
            out.line(f"duty {duty.name}: {duty.error} (last run {when})")


def _write(page: Path, found: "Board", charts: "list[Chart]", title: str) -> None:
    from modelworks.core.files import replace_text
    from modelworks.measure.page import page as whole

    facts = [f"{iso(int(found.since * 1e9))} to {iso(int(found.until * 1e9))}"]
    alerts = [f"{one.state.value}: {one.rule}: {one.summary}" for one in found.alerts]
    replace_text(page, whole(title, facts, [(_heads(""), _rows(found))], alerts, charts))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"


def _terminal() -> bool:
    return sys.stdout.isatty()
