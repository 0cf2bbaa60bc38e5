"""The commands of alerts: each, and how it ends."""

import json

import pytest
import yaml

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.control.watching.use_cases import USE_CASES
from modelworks.core.series import Series
from modelworks.monitor.alerts.service import Alerts
from modelworks.monitor.alerts.written import WrittenSource

pytestmark = pytest.mark.unit

RULES = """kind: AlertRules
metadata: {name: serving}
spec:
  rules:
    - {name: Slow, threshold: {series: latency, above: 200}, summary: "{model} is slow"}
    - {name: Full, trend: {series: disk, above: 90, within: 1d}}
"""
ROUTING = """kind: AlertRouting
metadata: {name: all}
spec:
  receivers: [{name: team, notifiers: [{type: slack, settings: {url_file: /run/slack}}]}]
  route: {receiver: team}
"""
TESTS = """kind: AlertTests
metadata: {name: tests}
spec:
  rules: [rules.yaml]
  tests:
    - name: slow answers fire
      series: [{name: latency, labels: {model: fraud}, values: "300"}]
      expect: [{at: 0m, alerts: [{rule: Slow, labels: {model: fraud}}]}]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "routing.yaml").write_text(ROUTING)
    (tmp_path / "tests.yaml").write_text(TESTS)
    return tmp_path


@pytest.fixture
def firing(home, type_, folder):
    """Slow fires for fraud."""
    done = type_("alerts", "rules", "apply", "-f", str(folder / "rules.yaml"))
    assert done.code == Exit.OK, done
    with Factory(home, actor="ana") as factory:
        source = WrittenSource([Series("latency", {"model": "fraud"}, [60.0], [300.0])])
        Alerts(factory._scope, source).tick(60 * 10**9)


def test_lint_says_what_is_good_and_all_that_is_wrong(type_, folder):
    done = type_("alerts", "lint", str(folder))
    assert done.code == Exit.OK
    assert "good: AlertRules serving" in done.err
    (folder / "routing.yaml").write_text(
        ROUTING.replace("slack", "slakc").replace(
            "}]\n", "}, {name: b, notifiers: [{type: webhook, settings: {secret: abc}}]}]\n", 1
        )
    )
    done = type_("alerts", "lint", str(folder))
    assert done.code == Exit.INVALID
    assert "did you mean 'slack'?" in done.err
    assert "secret_file or secret_variable says where it is" in done.err
    assert len(type_("alerts", "lint", str(folder), "--json").json["problems"]) == 2


def test_an_action_names_a_use_case_that_there_is(type_, folder, monkeypatch):
    routing = folder / "routing.yaml"
    routing.write_text(ROUTING + "  actions: [{name: undo, use_case: rolback}]\n")
    done = type_("alerts", "rules", "apply", "-f", str(folder))
    assert done.code == Exit.INVALID
    assert "routing.yaml:6" in done.err
    assert "spec.actions[0].use_case: there is no use case 'rolback'" in done.err
    monkeypatch.setitem(USE_CASES, "rollback", lambda _: lambda _: "")
    assert "did you mean 'rollback'?" in type_("alerts", "lint", str(folder)).err
    routing.write_text(routing.read_text().replace("rolback", "retrain"))
    assert "no use case 'retrain': known are" in type_("alerts", "lint", str(folder)).err
    routing.write_text(routing.read_text().replace("retrain", "rollback"))
    assert type_("alerts", "lint", str(folder)).code == Exit.OK


def test_test_ends_with_9_and_a_diff(type_, folder):
    file = folder / "tests.yaml"
    assert type_("alerts", "test", str(file)).code == Exit.OK
    file.write_text(TESTS.replace("300", "100"))
    done = type_("alerts", "test", str(file))
    assert done.code == Exit.GATE
    assert "FAILED tests: slow answers fire" in done.out
    assert '- firing Slow{model="fraud"}' in done.out
    assert type_("alerts", "test", str(file), "--json").json["ok"] is False
    assert type_("alerts", "test", str(folder / "rules.yaml")).code == Exit.INVALID
    assert type_("alerts", "test", str(folder / "away.yaml")).code == Exit.NOT_FOUND


def test_rules_are_applied_listed_and_removed(type_, folder):
    apply = ("alerts", "rules", "apply", "-f", str(folder))
    assert "AlertRouting all: applied" in type_(*apply).out
    assert "AlertRouting all: unchanged" in type_(*apply).out
    assert "Full" in type_("alerts", "rules", "list").out
    assert len(type_("alerts", "rules", "list", "--json").json) == 2
    remove = ("alerts", "rules", "remove", "AlertRules", "serving")
    assert type_(*remove).code == Exit.OK
    assert type_(*remove).code == Exit.NOT_FOUND
    assert "no rules yet" in type_("alerts", "rules", "list").err


def test_export_refuses_what_prometheus_cannot_say(type_, folder):
    words = ("alerts", "rules", "export", "-f", str(folder / "rules.yaml"))
    done = type_(*words)
    assert done.code == Exit.INVALID
    assert done.out == ""
    assert "Full: cannot be said in Prometheus" in done.err
    done = type_(*words, "--partial", "--operator", "modelworks")
    assert done.code == Exit.OK
    found = yaml.safe_load(done.out)
    assert found["kind"] == "PrometheusRule"
    assert [r["alert"] for r in found["spec"]["groups"][0]["rules"]] == ["Slow"]


def test_alerts_are_listed_shown_acknowledged_and_silenced(type_, firing):
    assert "fraud is slow" in type_("alerts", "list").out
    [one] = type_("alerts", "list", "--json").json
    assert one["held"]["alert"]["labels"] == {"model": "fraud"}
    assert "nothing fires" in type_("alerts", "list", "-m", "model=other").err
    assert type_("alerts", "list", "-m", "model").code == Exit.INVALID
    assert "summary   fraud is slow" in type_("alerts", "show", "Slow").out
    assert (
        json.loads(type_("alerts", "show", one["id"], "--json").out)["alerts"][0]["id"] == one["id"]
    )
    assert type_("alerts", "show", "Nobody").code == Exit.NOT_FOUND
    done = type_("alerts", "ack", "-m", "rule=Slow", "-c", "on it")
    assert done.out == "Slow model=fraud: acknowledged\n"
    assert "looks after it" in type_("alerts", "list").out
    assert type_("alerts", "ack", "-m", "rule=Nobody").code == Exit.NOT_FOUND
    add = ("alerts", "silence", "add", "-m", "model=fraud", "-c", "training", "--for")
    assert type_(*add, "soon").code == Exit.INVALID
    made = type_(*add, "2h", "--json").json
    assert "training" in type_("alerts", "silence", "list").out
    assert type_("alerts", "silence", "expire", made["id"]).code == Exit.OK
    assert type_("alerts", "silence", "expire", "zz").code == Exit.NOT_FOUND


def test_elsewhere_is_said(type_, monkeypatch):
    monkeypatch.setenv("MODELWORKS_URL", "http://127.0.0.1:1")
    done = type_("alerts", "list")
    assert done.code == Exit.INVALID
    assert "alerts are looked after where the registry is" in done.err
