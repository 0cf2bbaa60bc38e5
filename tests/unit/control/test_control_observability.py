"""What `observability init` writes, and the control plane's own metrics."""

import json
import re

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict

from modelworks.client.endpoints import Endpoint
from modelworks.control.endpoints import EndpointState
from modelworks.control.observability.elastic import FIELDS, elastic, saved_objects, template
from modelworks.control.observability.files import NOTE, Outcome, write_files
from modelworks.control.observability.grafana import BOARDS, grafana
from modelworks.control.observability.otel import otel
from modelworks.control.observability.prometheus import Watched, alertmanager, prometheus
from modelworks.control.observability.told import SERIES, Told
from modelworks.control.traffic import Traffic
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.series import Series
from modelworks.protocol.openmetrics import write_openmetrics
from modelworks.serving import metrics
from modelworks.serving.block import Block
from modelworks.serving.statistics import Recorder

pytestmark = pytest.mark.unit
WATCHED = Watched(("http://127.0.0.1:8000",), ("http://127.0.0.1:8080",), "127.0.0.1:9093")


class Watch:
    def states(self):
        endpoint = Endpoint("up", "http://127.0.0.1:8000", 1, 2, "up")
        return (EndpointState(endpoint, answers=True, ready=False, total=Traffic(), models=()),)


class Source:
    """Series of one model; the newest drift is not there to measure."""

    def select(self, name, labels, since, until):
        assert since < until
        if name == "drift":
            labels = {"model": "m", "feature": "age", "method": "psi"}
            yield Series("drift", labels, (1.0, 2.0, 3.0), (0.1, 0.3, float("nan")))
        if name == "quality":
            yield Series("quality", {"model": "m"}, (1.0,), (float("nan"),))


def exported():
    """The name of every metric that we tell, with the endings of its kind."""
    block = Block()
    Recorder.of_model(block, "m", "1")
    families = [*metrics.families(block, "0", 0.0), *Told(Watch(), Source()).families()]
    names = {family.shown for family in families}
    for family in families:
        if family.kind == "histogram":
            names |= {f"{family.name}_{end}" for end in ("bucket", "sum", "count")}
    return names


def expressions():
    for board in BOARDS:
        for _, query in board.variables:
            yield re.sub(r"label_values\((.*), \w+\)", r"\1", query)
        for row in board.rows:
            for panel in row.panels:
                yield from (query for query, _ in panel.queries)
    rules = yaml.safe_load(prometheus(WATCHED)["rules/modelworks.yml"])
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_everything_that_is_asked_for_is_told():
    known = exported()
    asked = [n for expr in expressions() for n in re.findall(r"\bmodelworks_\w+", expr)]
    assert len(asked) > 30
    assert set(asked) <= known, sorted(set(asked) - known)


def test_the_control_planes_metrics_are_read_by_the_strict_parser():
    told = Told(Watch(), Source(), lambda: 5000.0)
    text = write_openmetrics(told.families(), told.started).decode()
    found = {family.name: family.samples for family in strict(text)}
    [drift] = found["modelworks_drift"]
    assert (drift.value, drift.labels["feature"]) == (0.3, "age")
    assert found["modelworks_quality"] == []
    [up], [ready] = found["modelworks_server_up"], found["modelworks_server_ready"]
    assert (up.value, ready.value) == (1, 0)
    assert up.labels == {"name": "up", "url": "http://127.0.0.1:8000"}
    assert {f"modelworks_{name}" for name in SERIES} <= set(found)


def test_prometheus_follows_files_and_tells_alertmanager():
    texts = prometheus(WATCHED)
    config = yaml.safe_load(texts["prometheus.yml"])
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    [path] = jobs["modelworks"]["file_sd_configs"][0]["files"]
    assert json.loads(texts[path]) == [{"targets": ["127.0.0.1:8000"]}]
    assert "scheme" not in jobs["modelworks"]
    told = config["alerting"]["alertmanagers"][0]["static_configs"]
    assert told == [{"targets": ["127.0.0.1:9093"]}]
    alone = yaml.safe_load(prometheus(Watched())["prometheus.yml"])
    assert "alerting" not in alone


def test_https_and_keys_are_scraped_as_they_want():
    watched = Watched(("https://a:1",), ("https://b:2",), key_file="/run/key")
    jobs = yaml.safe_load(prometheus(watched)["prometheus.yml"])["scrape_configs"]
    assert [job["scheme"] for job in jobs] == ["https", "https"]
    assert jobs[1]["authorization"] == {"credentials_file": "/run/key"}
    assert "authorization" not in jobs[0]


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "unix:///run/s", "http://", ""])
def test_what_cannot_be_scraped_is_refused(url):
    with pytest.raises(InvalidError, match="cannot be scraped") as caught:
        prometheus(Watched((url,)))
    assert caught.value.field == "server"


def test_servers_of_both_kinds_are_refused():
    with pytest.raises(InvalidError, match="http and https"):
        prometheus(Watched(("http://a:1", "https://b:2")))


def test_alertmanager_calls_the_webhook():
    config = yaml.safe_load(alertmanager(Watched(webhook="http://h:1/x"))["alertmanager.yml"])
    assert config["receivers"][0]["webhook_configs"][0]["url"] == "http://h:1/x"
    with pytest.raises(InvalidError, match="--webhook"):
        alertmanager(Watched())


def test_grafana_gets_a_source_and_every_dashboard():
    texts = grafana(Watched(prometheus="http://p:9090"))
    source = yaml.safe_load(texts["provisioning/datasources/modelworks.yml"])
    assert source["datasources"][0]["url"] == "http://p:9090"
    boards = [json.loads(text) for path, text in texts.items() if path.endswith(".json")]
    assert {board["uid"] for board in boards} == {board.uid for board in BOARDS}
    for board in boards:
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert all(panel["targets"] for panel in panels)
        assert all(p["gridPos"]["w"] + p["gridPos"]["x"] <= 24 for p in board["panels"])
        ids = [variable["id"] for variable in board["templating"]["list"]]
        assert len(set(ids)) == len(ids)
    assert grafana(Watched(prometheus="http://p:9090")) == texts


def test_elastic_knows_every_field_and_its_objects_refer_to_each_other(tmp_path):
    texts = elastic(tmp_path)
    assert json.loads(texts["index-template.json"]) == template()
    properties = template()["template"]["mappings"]["properties"]
    assert (
        properties["http"]["properties"]["response"]["properties"]["status_code"]["type"] == "long"
    )
    assert properties["@timestamp"] == {"type": "date"}
    beat = yaml.safe_load(texts["filebeat.yml"])
    assert beat["filebeat.inputs"][0]["paths"] == [str(tmp_path / "*.log")]
    lines = [json.loads(line) for line in texts["kibana.ndjson"].splitlines()]
    assert lines == saved_objects()
    known = {(one["type"], one["id"]) for one in lines}
    assert all((r["type"], r["id"]) in known for one in lines for r in one["references"])
    columns = {c for one in lines for c in one["attributes"].get("columns", [])}
    assert columns <= set(FIELDS)


def test_the_collector_has_every_part_that_its_pipelines_name():
    config = yaml.safe_load(otel()["otelcol.yaml"])
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])


# -- files


def outcomes(written):
    return {one.path: one.outcome for one in written}


def test_files_are_written_once_and_come_up_to_date(tmp_path):
    texts = {"a.yml": "1\n", "rules/b.yml": "2\n"}
    first = write_files(tmp_path, texts, force=False)
    assert set(outcomes(first).values()) == {Outcome.WRITTEN}
    before = (tmp_path / "a.yml").stat().st_mtime_ns, (tmp_path / NOTE).stat().st_mtime_ns
    again = write_files(tmp_path, texts, force=False)
    assert set(outcomes(again).values()) == {Outcome.SAME}
    assert ((tmp_path / "a.yml").stat().st_mtime_ns, (tmp_path / NOTE).stat().st_mtime_ns) == before
    third = write_files(tmp_path, texts | {"a.yml": "3\n"}, force=False)
    assert outcomes(third) == {"a.yml": Outcome.REPLACED, "rules/b.yml": Outcome.SAME}
    assert (tmp_path / "a.yml").read_text() == "3\n"
    assert (tmp_path / "a.yml").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("content", [b"mine\n", b"\xff\xfe"])
def test_a_file_that_was_changed_stays_and_nothing_else_is_written(tmp_path, content):
    write_files(tmp_path, {"a.yml": "1\n", "b.yml": "1\n"}, force=False)
    (tmp_path / "a.yml").write_bytes(content)
    with pytest.raises(ConflictError, match=r"a\.yml was changed by hand.*--force"):
        write_files(tmp_path, {"b.yml": "2\n", "a.yml": "2\n"}, force=False)
    assert (tmp_path / "a.yml").read_bytes() == content
    assert (tmp_path / "b.yml").read_text() == "1\n"
    write_files(tmp_path, {"a.yml": "2\n"}, force=True)
    assert (tmp_path / "a.yml").read_text() == "2\n"


def test_a_file_of_somebody_else_is_not_ours_to_replace(tmp_path):
    (tmp_path / "a.yml").write_text("theirs\n")
    with pytest.raises(ConflictError):
        write_files(tmp_path, {"a.yml": "1\n"}, force=False)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidError, match="cannot be written"):
        write_files(tmp_path / "file", {"a.yml": "1\n"}, force=False)
