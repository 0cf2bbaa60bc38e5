"""Dashboards for Grafana, built with its own library, so that every field is one it knows."""

from typing import ClassVar, Final

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from modelworks.core.boards import Board, Panel

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH: Final = 24  # of Grafana's grid
_HEIGHT: Final = 8


class GrafanaBoards:
    """See `core.boards.BoardWriter`. Import into Grafana 10 and later."""

    extra: ClassVar[str] = "grafana"
    experimental: ClassVar[bool] = True  # no Grafana was at hand

    def write(self, board: Board) -> str:
        """The dashboard as JSON, the same every time."""
        built = (
            dashboards.Dashboard(board.title)
            .uid(board.uid)
            .description(board.text)
            .tags(["modelworks"])
            .time("now-1h", "now")
            .refresh("30s")
            .timezone("browser")
            .with_variable(
                dashboards.DatasourceVariable("datasource")
                .id("datasource")
                .label("Source")
                .type("prometheus")
            )
        )
        for name, query in board.variables:
            built = built.with_variable(
                dashboards.QueryVariable(name)
                .id(name)
                .label(name)
                .query(query)
                .datasource(_SOURCE)
                .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
                .include_all(include_all=True)
                .all_value(".*")
                .multi(multi=True)
            )
        for row in board.rows:
            built = built.with_row(dashboards.Row(row.title))
            for panel in row.panels:
                built = built.with_panel(_panel(panel, _WIDTH // len(row.panels)))
        return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(panel: Panel, width: int) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.text)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .span(width)
        .height(_HEIGHT)
        .fill_opacity(8)
    )
    if panel.lowest is not None:
        built = built.min(panel.lowest)
    for place, (query, legend) in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query).legend_format(legend)
        target = target.ref_id(chr(ord("A") + place)).exemplar(panel.exemplars)
        built = built.with_target(target)
    return built
