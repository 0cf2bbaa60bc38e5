"""Dashboards of an installation, and what Grafana needs to load them by itself."""

from typing import Final

import yaml

from modelworks.control.observability.prometheus import Watched
from modelworks.core.boards import Board, BoardWriter, Panel, Row
from modelworks.plugins.load import load

_MODEL: Final = 'model=~"$model",version=~"$version"'
_WINDOW: Final = "$__rate_interval"
_BUCKETS: Final = "modelworks_request_duration_seconds_bucket"
_VARIABLES: Final = (
    ("model", "label_values(modelworks_model_ready, model)"),
    ("version", 'label_values(modelworks_model_ready{model=~"$model"}, version)'),
)


def _rate(metric: str, chosen: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{chosen}}}[{_WINDOW}]))"


def _quantile(share: str, stage: str, by: str = "model") -> str:
    inner = _rate(_BUCKETS, f'{_MODEL},stage="{stage}"', f"{by}, le")
    return f"histogram_quantile({share}, {inner})"


OVERVIEW: Final = Board(
    "modelworks-overview",
    "Modelworks: overview",
    "All models of all servers: what is asked, what fails, how long it takes.",
    (
        Row(
            "Requests",
            (
                Panel(
                    "Requests",
                    ((_rate("modelworks_requests_total", 'model!=""', "model"), "{{model}}"),),
                    "reqps",
                ),
                Panel(
                    "Failures, ours and the callers'",
                    (
                        (
                            _rate(
                                "modelworks_requests_total", 'outcome!="success"', "model, outcome"
                            ),
                            "{{model}} {{outcome}}",
                        ),
                    ),
                    "reqps",
                    "invalid is the caller's; rejected and expired mean too much load.",
                ),
                Panel(
                    "Latency, 99th percentile",
                    (
                        (
                            "histogram_quantile(0.99, "
                            + _rate(_BUCKETS, 'stage="total"', "model, le")
                            + ")",
                            "{{model}}",
                        ),
                    ),
                    "s",
                    exemplars=True,
                ),
            ),
        ),
        Row(
            "Servers",
            (
                Panel(
                    "Servers that answer",
                    (('up{job=~"modelworks.*"}', "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Memory of the workers",
                    (
                        (
                            "sum by (instance) (modelworks_worker_resident_memory_bytes)",
                            "{{instance}}",
                        ),
                    ),
                    "bytes",
                ),
                Panel(
                    "Models that are not ready",
                    (("count by (instance) (modelworks_model_ready == 0)", "{{instance}}"),),
                ),
            ),
        ),
    ),
)

MODEL: Final = Board(
    "modelworks-model",
    "Modelworks: one model",
    "Where the time of a model's requests goes, and how its batches are made.",
    (
        Row(
            "Latency",
            (
                Panel(
                    "Whole request",
                    tuple(
                        (_quantile(share, "total", "model, version"), f"{{{{version}}}} p{name}")
                        for share, name in (("0.5", "50"), ("0.9", "90"), ("0.99", "99"))
                    ),
                    "s",
                    "The points are requests with a trace.",
                    exemplars=True,
                ),
                Panel(
                    "By stage, mean",
                    (
                        (
                            _rate("modelworks_request_duration_seconds_sum", _MODEL, "stage")
                            + " / "
                            + _rate("modelworks_request_duration_seconds_count", _MODEL, "stage"),
                            "{{stage}}",
                        ),
                    ),
                    "s",
                    "docs/latency.md says what each stage is, and what helps.",
                ),
                Panel(
                    "Waiting for the engine, 99th percentile",
                    ((_quantile("0.99", "queue"), "{{model}}"),),
                    "s",
                ),
            ),
        ),
        Row(
            "Batches",
            (
                Panel(
                    "Rows of a batch, mean",
                    (
                        (
                            _rate("modelworks_batch_items_sum", _MODEL, "model")
                            + " / "
                            + _rate("modelworks_batch_items_count", _MODEL, "model"),
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Why batches were not larger",
                    ((_rate("modelworks_batch_cuts_total", _MODEL, "reason"), "{{reason}}"),),
                    "ops",
                ),
                Panel(
                    "Rows",
                    (
                        (_rate("modelworks_items_total", _MODEL, "model"), "{{model}} a second"),
                        (f"sum by (model) (modelworks_queue_items{{{_MODEL}}})", "{{model}} wait"),
                    ),
                ),
            ),
        ),
        Row(
            "Loads",
            (
                Panel(
                    "Memory at load",
                    ((f"modelworks_model_memory_bytes{{{_MODEL}}}", "{{model}} {{version}}"),),
                    "bytes",
                ),
                Panel(
                    "Loads, refusals, evictions in an hour",
                    tuple(
                        (f"sum by (model) (increase({name}{{{_MODEL}}}[1h]))", "{{model}} " + verb)
                        for name, verb in (
                            ("modelworks_model_loads_total", "loaded"),
                            ("modelworks_model_load_failures_total", "refused"),
                            ("modelworks_model_evictions_total", "evicted"),
                        )
                    ),
                ),
            ),
        ),
    ),
    _VARIABLES,
)

QUALITY: Final = Board(
    "modelworks-quality",
    "Modelworks: drift and quality",
    "What the inputs and answers look like beside the reference, and how good the answers are.",
    (
        Row(
            "Drift",
            (
                Panel(
                    "Distance from the reference, the ten farthest features",
                    ((f"topk(10, modelworks_drift{{{_MODEL}}})", "{{feature}} {{method}}"),),
                ),
                Panel(
                    "Estimated loss of quality by drift",
                    ((f"topk(10, modelworks_drift_loss{{{_MODEL}}})", "{{feature}}"),),
                ),
            ),
        ),
        Row(
            "Data",
            tuple(
                Panel(
                    title,
                    ((f"topk(10, modelworks_{name}{{{_MODEL}}})", "{{feature}}"),),
                    "percentunit",
                )
                for name, title in (
                    ("missing", "Missing"),
                    ("out_of_range", "Out of range"),
                    ("new_category", "Categories never seen"),
                    ("wrong_type", "Of a wrong type"),
                )
            ),
        ),
        Row(
            "Quality",
            (
                Panel(
                    "Quality",
                    (
                        (
                            f'modelworks_quality{{{_MODEL},slice=~"|\\\\*"}}',
                            "{{metric}} {{kind}}",
                        ),
                    ),
                    lowest=None,
                ),
                Panel(
                    "Business",
                    ((f"modelworks_business{{{_MODEL}}}", "{{metric}}"),),
                    lowest=None,
                ),
            ),
        ),
    ),
    _VARIABLES,
)

BOARDS: Final = (OVERVIEW, MODEL, QUALITY)


def grafana(watched: Watched) -> dict[str, str]:
    """Data source, provider and dashboards.

    Raises:
        MissingExtraError: the library that builds dashboards is not installed.
    """
    writer: BoardWriter = load("dashboards", "grafana")()
    source = {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Modelworks",
                "uid": "modelworks",
                "type": "prometheus",
                "access": "proxy",
                "url": watched.prometheus,
                "jsonData": {"httpMethod": "POST"},
            }
        ],
    }
    provider = {
        "apiVersion": 1,
        "providers": [
            {
                "name": "modelworks",
                "folder": "Modelworks",
                "type": "file",
                "options": {"path": "/etc/grafana/dashboards/modelworks"},
            }
        ],
    }
    texts = {
        "provisioning/datasources/modelworks.yml": yaml.safe_dump(source, sort_keys=False),
        "provisioning/dashboards/modelworks.yml": yaml.safe_dump(provider, sort_keys=False),
    }
    return texts | {f"dashboards/{board.uid}.json": writer.write(board) for board in BOARDS}
