"""The example in docs/alerts.md is a document that lints and whose tests pass."""

import re
from pathlib import Path

import pytest

from modelworks.monitor.alerts.checks import checked
from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.monitor.alerts.trial import Trial
from modelworks.plugins.load import available
from modelworks.protocol.manifest.alerts import AlertRouting, AlertRules, AlertTests, load_alerts

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs/alerts.md"


def test_the_example_works():
    [text, *_] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    manifest = checked(load_alerts([("alerts.yaml", text.encode())]))
    trial = Trial(Ruleset(manifest.of(AlertRules)), manifest.of(AlertRouting)[0].spec)
    [test] = manifest.of(AlertTests)[0].spec.tests
    assert trial.run(test, PAGE.parent) == []


def test_every_notifier_is_named():
    text = PAGE.read_text()
    assert {name for name in available("notifiers") if f"`{name}`" not in text} == set()
