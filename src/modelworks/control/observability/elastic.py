"""What Elasticsearch, Kibana, Filebeat and Logstash need to take our logs."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

INDEX: Final = "modelworks-logs"
_KEYWORD: Final[dict[str, Any]] = {"type": "keyword", "ignore_above": 1024}
_TEXT: Final[dict[str, Any]] = {"type": "match_only_text"}
_LONG: Final[dict[str, Any]] = {"type": "long"}

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "@timestamp": {"type": "date"},
    "ecs.version": _KEYWORD,
    "message": _TEXT,
    "log.level": _KEYWORD,
    "log.logger": _KEYWORD,
    "service.name": _KEYWORD,
    "service.version": _KEYWORD,
    "process.pid": _LONG,
    "process.thread.name": _KEYWORD,
    "error.type": _KEYWORD,
    "error.message": _TEXT,
    "error.stack_trace": {"type": "wildcard"},
    "event.dataset": _KEYWORD,
    "event.kind": _KEYWORD,
    "event.category": _KEYWORD,
    "event.type": _KEYWORD,
    "event.outcome": _KEYWORD,
    "event.duration": _LONG,
    "http.version": _KEYWORD,
    "http.request.method": _KEYWORD,
    "http.request.id": _KEYWORD,
    "http.request.referrer": _KEYWORD,
    "http.request.body.bytes": _LONG,
    "http.response.status_code": _LONG,
    "http.response.body.bytes": _LONG,
    "url.path": {"type": "wildcard"},
    "user_agent.original": _KEYWORD,
    "client.address": _KEYWORD,
    "client.ip": {"type": "ip"},
    "user.name": _KEYWORD,
    "trace.id": _KEYWORD,
    "span.id": _KEYWORD,
    "labels.model": _KEYWORD,
    "labels.dropped": _KEYWORD,
}
"""Every field that our logs have, with the type that ECS 8.11 gives it."""


def elastic(logs: Path) -> dict[str, str]:
    """Filebeat, Logstash, an index template, and Kibana's saved objects.

    Args:
        logs: the folder of our logs.
    """
    return {
        "filebeat.yml": _filebeat(logs),
        "logstash/modelworks.conf": _LOGSTASH,
        "index-template.json": json.dumps(template(), indent=2) + "\n",
        "kibana.ndjson": _ndjson(saved_objects()),
    }


def template() -> dict[str, Any]:
    """Of the data stream: `PUT _index_template/modelworks-logs`."""
    properties: dict[str, Any] = {}
    for name, kind in FIELDS.items():
        place = properties
        *outer, last = name.split(".")
        for part in outer:
            place = place.setdefault(part, {"properties": {}})["properties"]
        place[last] = kind
    return {
        "index_patterns": [f"{INDEX}-*"],
        "data_stream": {},
        "priority": 200,
        "template": {
            "settings": {"index": {"codec": "best_compression"}},
            "mappings": {"dynamic": False, "properties": properties},
        },
        "_meta": {"description": "Logs of Modelworks in the Elastic Common Schema"},
    }


def _filebeat(logs: Path) -> str:
    config = {
        "filebeat.inputs": [
            {
                "type": "filestream",
                "id": "modelworks",
                "paths": [str(logs / "*.log")],
                "parsers": [
                    {"ndjson": {"overwrite_keys": True, "add_error_key": True, "expand_keys": True}}
                ],
            }
        ],
        "setup.template.enabled": False,
        "setup.ilm.enabled": False,
        "output.elasticsearch": {
            "hosts": ["${ELASTICSEARCH_HOSTS:http://127.0.0.1:9200}"],
            "username": "${ELASTICSEARCH_USERNAME:}",
            "password": "${ELASTICSEARCH_PASSWORD:}",
            "index": f"{INDEX}-default",
        },
    }
    return yaml.safe_dump(config, sort_keys=False, width=100)


_LOGSTASH: Final = """\
# Filebeat or our log files -> Elasticsearch. Lines that are no JSON keep their text.
input {
  beats { port => 5044 }
}
filter {
  if [message] =~ /^\\s*[{]/ {
    json { source => "message" target => "[@metadata][ecs]" skip_on_invalid_json => true }
    if [@metadata][ecs] {
      ruby {
        code => "event.get('[@metadata][ecs]').each { |k, v| event.set(
          k.start_with?('@') ? k : k.split('.').map { |p| '[' + p + ']' }.join, v) }"
      }
      date { match => ["@timestamp", "ISO8601"] }
    }
  }
}
output {
  elasticsearch {
    hosts => ["${ELASTICSEARCH_HOSTS:http://127.0.0.1:9200}"]
    user => "${ELASTICSEARCH_USERNAME:}"
    password => "${ELASTICSEARCH_PASSWORD:}"
    data_stream => true
    data_stream_type => "modelworks"
    data_stream_dataset => "logs"
    data_stream_namespace => "default"
  }
}
"""


def saved_objects() -> list[dict[str, Any]]:
    """A data view, two searches and a dashboard of them, for Kibana 8."""
    view = {
        "id": "modelworks-logs",
        "type": "index-pattern",
        "attributes": {
            "title": f"{INDEX}-*",
            "name": "Modelworks: logs",
            "timeFieldName": "@timestamp",
        },
        "references": [],
    }
    failures = _search(
        "modelworks-failures",
        "Modelworks: failed requests",
        ["http.response.status_code", "url.path", "event.duration", "trace.id"],
        "http.response.status_code >= 500",
    )
    warnings = _search(
        "modelworks-warnings",
        "Modelworks: warnings and errors",
        ["log.level", "service.name", "log.logger", "message"],
        "log.level : (warning or error or critical)",
    )
    panels = [
        {
            "type": "search",
            "panelIndex": str(place),
            "gridData": {"x": 0, "y": 15 * place, "w": 48, "h": 15, "i": str(place)},
            "panelRefName": f"panel_{place}",
            "embeddableConfig": {},
        }
        for place in range(2)
    ]
    dashboard = {
        "id": "modelworks",
        "type": "dashboard",
        "attributes": {
            "title": "Modelworks",
            "description": "Failed requests, warnings and errors.",
            "panelsJSON": json.dumps(panels),
            "optionsJSON": json.dumps({"useMargins": True}),
            "timeRestore": False,
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps({})},
        },
        "references": [
            {"id": one["id"], "name": f"panel_{place}", "type": "search"}
            for place, one in enumerate((failures, warnings))
        ],
    }
    return [view, failures, warnings, dashboard]


def _search(name: str, title: str, columns: list[str], query: str) -> dict[str, Any]:
    reference = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "query": {"query": query, "language": "kuery"},
        "filter": [],
        "indexRefName": reference,
    }
    return {
        "id": name,
        "type": "search",
        "attributes": {
            "title": title,
            "columns": columns,
            "sort": [["@timestamp", "desc"]],
            "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
        },
        "references": [{"id": "modelworks-logs", "name": reference, "type": "index-pattern"}],
    }


def _ndjson(objects: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)
