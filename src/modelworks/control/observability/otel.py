"""Configuration of an OpenTelemetry collector that takes our traces and metrics."""

from typing import Any

import yaml


def otel() -> dict[str, str]:
    """`otelcol.yaml`, for the collector of the `contrib` distribution.

    What our servers send by OTLP is kept in memory, batched, and handed on; where it goes is one
    line to change: it is printed until then.
    """
    pipeline = {"receivers": ["otlp"], "processors": ["memory_limiter", "batch"]}
    config: dict[str, Any] = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:4318"}}}},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": 512},
            "batch": {"timeout": "1s"},
        },
        "exporters": {
            "debug": {"verbosity": "normal"},
            "prometheus": {"endpoint": "127.0.0.1:9464", "enable_open_metrics": True},
        },
        "service": {
            "pipelines": {
                "traces": {**pipeline, "exporters": ["debug"]},
                "metrics": {**pipeline, "exporters": ["prometheus"]},
            }
        },
    }
    head = "# Model servers send here with MODELWORKS_SERVER_OTLP=http://127.0.0.1:4318\n"
    return {"otelcol.yaml": head + yaml.safe_dump(config, sort_keys=False)}
