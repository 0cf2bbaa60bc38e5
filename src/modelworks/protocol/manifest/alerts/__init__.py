"""Alerts as code: rules, who is told of them, and tests of both."""

from modelworks.protocol.manifest.alerts.check import KINDS, load_alerts
from modelworks.protocol.manifest.alerts.routing import AlertRouting
from modelworks.protocol.manifest.alerts.rules import AlertRules, Rule
from modelworks.protocol.manifest.alerts.tests import AlertTests

__all__ = ["KINDS", "AlertRouting", "AlertRules", "AlertTests", "Rule", "load_alerts"]
