"""A real Alertmanager takes alerts, groups them and calls a webhook; an SMTP server takes mail."""

import email
import email.policy
import ssl
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from certificates import Authority
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.ext.notifiers.alertmanager import AlertmanagerNotifier
from modelworks.ext.notifiers.email import EmailNotifier
from modelworks.testing.notifiers import CHINESE, FakeService, alert, ended, serving, told
from prometheus_parts import alertmanager
from store_servers import free_port

pytestmark = pytest.mark.real

CONFIG = """
route: {receiver: hook, group_by: [model], group_wait: 1s, group_interval: 1s}
receivers:
  - name: hook
    webhook_configs: [{url: "URL/hook", send_resolved: true}]
"""


def _now(**changes):
    at = time.time_ns()
    return alert(**{"since_ns": at - 10**9, "fired_ns": at, **changes})


def test_alertmanager_receives_groups_and_calls_back(tmp_path):
    service = FakeService((200, b""))
    with serving(service), alertmanager(CONFIG.replace("URL", service.url), tmp_path) as manager:
        settings = {"url": manager.url}
        first, second = _now(summary=CHINESE), _now(rule="Drift", labels={"model": "fraud"})
        other = _now(rule="Drift", labels={"model": "churn"})
        AlertmanagerNotifier().send(told(first, second), settings)
        AlertmanagerNotifier().send(told(other), settings)
        calls = _calls(service, 2)
        groups = {one["groupLabels"]["model"]: one["alerts"] for one in calls}
        assert {model: len(found) for model, found in groups.items()} == {"fraud": 2, "churn": 1}
        names = {one["labels"]["alertname"]: one for one in groups["fraud"]}
        assert names["Slow"]["annotations"]["summary"] == CHINESE
        assert names["Slow"]["annotations"]["runbook_url"] == first.runbook
        assert len(manager.get("/api/v2/alerts")) == 3
        gone = ended("Drift", labels={"model": "churn"}, since_ns=other.since_ns)
        gone = type(gone)(**{**_fields(gone), "ended_ns": time.time_ns()})
        AlertmanagerNotifier().send(told(gone), settings)
        last = _calls(service, 3)[-1]
        assert (last["status"], last["groupLabels"]) == ("resolved", {"model": "churn"})
        with pytest.raises(InvalidError, match="Alertmanager answered 400"):
            AlertmanagerNotifier().send(told(_now(labels={"no label": "x"})), settings)


def _fields(one):
    return {name: getattr(one, name) for name in type(one).__dataclass_fields__}


def _calls(service, number):
    end = time.monotonic() + 30
    while len(service.received) < number:
        assert time.monotonic() < end, f"{len(service.received)} of {number} calls"
        time.sleep(0.05)
    return [one.body for one in service.received]


class _Mailbox:
    def __init__(self):
        self.mails, self.answer = [], "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's
        if self.answer.startswith("250"):
            self.mails.append(envelope)
        return self.answer

    async def handle_RCPT(  # noqa: N802 - the same
        self, _server, _session, envelope, address, _options
    ):
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def mailbox(tmp_path):
    """An SMTP server with STARTTLS and a login."""
    authority = Authority(tmp_path)
    pair = authority.pair("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    def login(_server, _session, _envelope, _mechanism, data):
        good = isinstance(data, LoginPassword) and data.password == b"right"
        return AuthResult(success=good, handled=good)

    box = _Mailbox()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        authenticator=login,
        auth_required=True,
    )
    controller.start()
    (tmp_path / "password").write_text("right\n")
    box.settings = {
        "host": "localhost",
        "port": str(controller.port),
        "from": "modelworks@factory.example",
        "to": "ana@factory.example, bob@factory.example",
        "user": "modelworks",
        "password_file": str(tmp_path / "password"),
        "ca": str(authority.certificate),
    }
    yield box
    controller.stop()


def test_mail_goes_out_by_starttls_and_login(mailbox):
    content = told(alert(summary=CHINESE), ended("Drift\r\nBcc: evil@example"))
    EmailNotifier().send(content, mailbox.settings)
    EmailNotifier().send(told(ended()), mailbox.settings)
    first, second = (
        email.message_from_bytes(one.content, policy=email.policy.default) for one in mailbox.mails
    )
    assert mailbox.mails[0].rcpt_tos == ["ana@factory.example", "bob@factory.example"]
    assert CHINESE in first.get_content()
    assert first["Bcc"] is None
    assert first["Subject"].startswith("[firing 1] Slow, Drift")
    assert first["Auto-Submitted"] == "auto-generated"
    assert second["Subject"].startswith("[resolved]")
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]


def test_what_the_mail_server_refuses_is_said_without_secrets(mailbox, tmp_path):
    (tmp_path / "wrong").write_text("wr0ngSecret")
    wrong = {**mailbox.settings, "password_file": str(tmp_path / "wrong")}
    for settings, field in (
        (wrong, "user"),
        ({**mailbox.settings, "to": "nobody@factory.example"}, "to"),
        ({**mailbox.settings, "to": "ana@factory.example, nobody@factory.example"}, "to"),
        ({**mailbox.settings, "to": "no address"}, "to"),
        ({**mailbox.settings, "ca": ""}, "ca"),
        ({**mailbox.settings, "security": "none", "host": "mail.example"}, "security"),
    ):
        with pytest.raises(InvalidError) as caught:
            EmailNotifier().send(told(), settings)
        assert caught.value.field == field, caught.value
        assert "wr0ngSecret" not in caught.value.message
    mailbox.answer = "451 later"
    with pytest.raises(UnavailableError):
        EmailNotifier().send(told(), mailbox.settings)
    with pytest.raises(UnavailableError):
        EmailNotifier().send(told(), {**mailbox.settings, "port": "1"})
