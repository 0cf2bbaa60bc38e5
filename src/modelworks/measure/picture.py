"""The charts of a benchmark as one PNG, by matplotlib where it is installed."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.measure.charts import Chart

_INCHES: Final = (6.4, 3.8)


def check() -> None:
    """Whether a picture can be made: asked before minutes of load.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise MissingExtraError("a PNG", "plots", "matplotlib") from error


def write_png(path: Path, title: str, charts: Sequence[Chart]) -> None:
    """Draw the charts one below another.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InvalidError: the file cannot be written.
    """
    check()
    figures, canvases = (
        import_module(name) for name in ("matplotlib.figure", "matplotlib.backends.backend_agg")
    )
    figure = figures.Figure(figsize=(_INCHES[0], _INCHES[1] * len(charts)), layout="constrained")
    canvases.FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axes, chart in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
        _draw(axes, chart)
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}", field="png") from error


def _draw(axes: Any, chart: Chart) -> None:
    for curve in chart.curves:
        xs, ys = zip(*curve.points, strict=True) if curve.points else ((), ())
        axes.plot(xs, ys, marker=".", label=curve.name)
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    if chart.log_x:
        axes.set_xscale("log")
    if chart.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if chart.ticks:
        axes.set_xticks([x for x, _ in chart.ticks], [text for _, text in chart.ticks], minor=False)
        axes.minorticks_off()
    if chart.mark is not None:
        axes.axvline(chart.mark, linestyle="--", color="grey", label="knee")
    axes.grid(visible=True, alpha=0.3)
    if chart.curves:
        axes.legend(fontsize="small")
