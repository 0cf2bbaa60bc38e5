"""Configuration of Prometheus and Alertmanager for an installation."""

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from modelworks.core.errors import InvalidError

_SERVERS: Final = "targets/servers.json"
_CONTROLS: Final = "targets/control.json"
_RATE: Final = "5m"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is to be watched, and by whom.

    Attributes:
        servers: URLs of model servers.
        controls: URLs of control planes.
        alertmanager: `host:port`; empty = Prometheus tells nobody.
        webhook: URL that Alertmanager calls.
        key_file: file with an API key, where the control plane asks for one; empty = it does not.
        prometheus: URL that Grafana asks.
    """

    servers: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    alertmanager: str = ""
    webhook: str = ""
    key_file: str = ""
    prometheus: str = "http://127.0.0.1:9090"


def prometheus(watched: Watched) -> dict[str, str]:
    """`prometheus.yml`, its lists of targets, and rules.

    The lists are files of their own: Prometheus follows them, and writing them anew needs no
    restart.

    Raises:
        InvalidError: a URL that cannot be scraped.
    """
    secure = [_secure(watched.servers), _secure(watched.controls)]
    config: dict[str, Any] = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            _job("modelworks", _SERVERS, secure=secure[0]),
            _job("modelworks-control", _CONTROLS, secure=secure[1], key_file=watched.key_file),
        ],
    }
    if watched.alertmanager:
        config["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [watched.alertmanager]}]}]
        }
    return {
        "prometheus.yml": _yaml(config),
        _SERVERS: _targets(watched.servers),
        _CONTROLS: _targets(watched.controls),
        "rules/modelworks.yml": _yaml({"groups": [_RECORDED, _ALERTS]}),
    }


def alertmanager(watched: Watched) -> dict[str, str]:
    """`alertmanager.yml`: one receiver, grouped by alert and model.

    Raises:
        InvalidError: there is no webhook.
    """
    if urlsplit(watched.webhook).scheme not in {"http", "https"}:
        raise InvalidError(
            "Alertmanager has to be told whom it calls: --webhook http://HOST:PORT/PATH",
            field="webhook",
        )
    hook = {"url": watched.webhook, "send_resolved": True}
    config = {
        "route": {
            "receiver": "modelworks",
            "group_by": ["alertname", "model"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "4h",
        },
        "receivers": [
            {
                "name": "modelworks",
                "webhook_configs": [hook],
            }
        ],
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": ["model", "version"],
            }
        ],
    }
    return {"alertmanager.yml": _yaml(config)}


def _job(name: str, targets: str, *, secure: bool, key_file: str = "") -> dict[str, Any]:
    job: dict[str, Any] = {
        "job_name": name,
        "file_sd_configs": [{"files": [targets], "refresh_interval": "30s"}],
    }
    if secure:
        job["scheme"] = "https"
    if key_file:
        job["authorization"] = {"credentials_file": key_file}
    return job


def _secure(urls: tuple[str, ...]) -> bool:
    """Whether they speak TLS; a job of Prometheus has one scheme."""
    schemes = {urlsplit(url).scheme for url in urls} & {"http", "https"}
    if len(schemes) > 1:
        raise InvalidError(
            "one list of servers cannot be of http and https: write two folders", field="server"
        )
    return schemes == {"https"}


def _targets(urls: tuple[str, ...]) -> str:
    hosts = []
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidError(
                f"'{url[:120]}' cannot be scraped: http://HOST:PORT is wanted", field="server"
            )
        hosts.append(parts.netloc)
    return json.dumps([{"targets": hosts}] if hosts else [], indent=1) + "\n"


def _yaml(document: Any) -> str:
    head = (
        "# Written by `modelworks observability init`; writing it anew keeps no change of yours.\n"
    )
    return head + yaml.safe_dump(document, sort_keys=False, width=100)


_BY: Final = "by (model, version)"
_ASKED: Final = (
    f'sum {_BY} (rate(modelworks_requests_total{{model!="",outcome!="cancelled"}}[{_RATE}]))'
)
_FAILED: Final = f'sum {_BY} (rate(modelworks_requests_total{{model!="",code="5xx"}}[{_RATE}]))'
_P99: Final = (
    "histogram_quantile(0.99, sum by (model, version, le) "
    f'(rate(modelworks_request_duration_seconds_bucket{{stage="total"}}[{_RATE}])))'
)
_RECORDED: Final[dict[str, Any]] = {
    "name": "modelworks-recorded",
    "rules": [
        {"record": "modelworks:requests:rate5m", "expr": _ASKED},
        {"record": "modelworks:errors:ratio5m", "expr": f"{_FAILED} / {_ASKED}"},
        {"record": "modelworks:latency_seconds:p99_5m", "expr": _P99},
    ],
}


def _alert(name: str, expr: str, wait: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }


_ALERTS: Final[dict[str, Any]] = {
    "name": "modelworks-alerts",
    "rules": [
        _alert(
            "ModelworksServerDown",
            'up{job="modelworks"} == 0',
            "1m",
            "critical",
            "{{ $labels.instance }} does not answer a scrape.",
        ),
        _alert(
            "ModelworksModelNotReady",
            "modelworks_model_ready == 0",
            "5m",
            "warning",
            "{{ $labels.model }} {{ $labels.version }} is listed and does not answer.",
        ),
        _alert(
            "ModelworksErrors",
            "modelworks:errors:ratio5m > 0.05",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the requests of {{ $labels.model }} "
            "{{ $labels.version }} fail by our fault.",
        ),
        _alert(
            "ModelworksQueue",
            f"min_over_time(modelworks_queue_items[{_RATE}]) > 0 and "
            f"deriv(modelworks_queue_items[{_RATE}]) > 0",
            "10m",
            "warning",
            "Requests of {{ $labels.model }} {{ $labels.version }} wait, and ever more of them.",
        ),
    ],
}
