"""The contract of notifiers, each against a fake that checks what its service documents."""

import pytest

import notifier_cases
from modelworks.ext.notifiers import posting
from modelworks.testing.notifiers import NotifierContract

pytestmark = pytest.mark.contract


class _Contract(NotifierContract):
    @pytest.fixture
    def hurry(self, monkeypatch):
        return lambda seconds: monkeypatch.setattr(posting, "SECONDS", seconds)


class TestWebhook(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.webhook()


class TestSlack(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.slack()


class TestTeams(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.teams()


class TestDingTalk(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.dingtalk()


class TestFeishu(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.feishu()


class TestWeCom(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.wecom()


class TestPagerDuty(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.pagerduty()


class TestAlertmanager(_Contract):
    @pytest.fixture
    def case(self):
        return notifier_cases.alertmanager()
