"""Alerts by e-mail: SMTP, with STARTTLS unless the server is on this machine."""

import hashlib
import smtplib
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import ClassVar, Final

from modelworks.core.alerts import Notification
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.ext.notifiers.given import checked, here, secret
from modelworks.ext.notifiers.posting import context_of
from modelworks.ext.notifiers.words import cut, facts, sign, title

_SECONDS: Final = 10.0
_SUBJECT: Final = 200
_ALERTS: Final = 200
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


class EmailNotifier:
    """See `core.seams.Notifier`."""

    name: ClassVar[str] = "email"
    experimental: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, str]] = {
        "host": "of the SMTP server",
        "port": "of it (587; 465 with tls, 25 with none)",
        "from": "address that it comes from",
        "to": "addresses, with commas between them",
        "security": "starttls (default), tls, or none: only to a server on this machine",
        "user": "to log in as",
        "password_file": "a file with the password",
        "password_variable": "an environment variable with it",
        "ca": "authorities (PEM) of the server's certificate",
    }

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """See `Notifier.send`."""
        checked(settings, self.settings, ("host", "from", "to"))
        sender = _address(settings["from"], "from")
        to = [_address(one, "to") for one in settings["to"].split(",") if one.strip()]
        password = secret(settings, "password", required=bool(settings.get("user")))
        text = message(told, sender, to)
        try:
            with _connected(settings) as server:
                if settings.get("user"):
                    server.login(settings["user"], password)
                refused = server.send_message(text, sender, to)
        except smtplib.SMTPAuthenticationError as error:
            words = f"the SMTP server refuses user and password ({error.smtp_code})"
            raise InvalidError(words, field="user") from None
        except smtplib.SMTPNotSupportedError as error:
            raise InvalidError(f"the SMTP server: {error}", field="security") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal("to", {code for code, _ in error.recipients.values()}) from None
        except smtplib.SMTPResponseException as error:
            raise _refusal("from", {error.smtp_code}) from None
        except ssl.SSLCertVerificationError as error:
            words = f"the SMTP server's certificate: {error.verify_message}"
            raise InvalidError(words, field="ca") from None
        except (OSError, smtplib.SMTPException, EOFError, ValueError) as error:
            words = f"the SMTP server did not take it: {type(error).__name__}"
            raise UnavailableError(words, retry_after=30) from None
        if refused:
            raise InvalidError(f"{len(refused)} of {len(to)} addresses were refused", field="to")


def message(told: Notification, sender: str, to: list[str]) -> EmailMessage:
    """What is sent; messages of one group are one thread."""
    domain = sender.rpartition("@")[2]
    thread = hashlib.sha256(told.key.encode()).hexdigest()[:24]
    found = EmailMessage()
    found["Subject"] = cut(" ".join(title(told).split()), _SUBJECT)
    found["From"] = sender
    found["To"] = ", ".join(to)
    found["Date"] = formatdate()
    found["Message-ID"] = make_msgid(domain=domain)
    found["References"] = f"<{thread}@{domain}>"
    found["Auto-Submitted"] = "auto-generated"
    found["X-Modelworks-Severity"] = told.severity.value
    found.set_content("\n".join(_lines(told)) + "\n")
    return found


def _lines(told: Notification) -> Iterator[str]:
    for alert in told.alerts[:_ALERTS]:
        yield f"{sign(alert)} {alert.rule}: {alert.summary}"
        yield from (f"    {line}" for line in facts(alert))
        if alert.runbook:
            yield f"    runbook: {alert.runbook}"
        yield ""
    if len(told.alerts) > _ALERTS:
        yield f"and {len(told.alerts) - _ALERTS} more"
    if told.url:
        yield told.url


@contextmanager
def _connected(settings: Mapping[str, str]) -> Iterator[smtplib.SMTP]:
    """A server, for ten seconds at most, whatever it does."""
    host, security = settings["host"], settings.get("security") or "starttls"
    if security not in _PORTS:
        words = f"security: '{security}' is none of {', '.join(_PORTS)}"
        raise InvalidError(words, field="security")
    if security == "none" and not here(host):
        words = "security: none is only for a server on this machine; use starttls or tls"
        raise InvalidError(words, field="security")
    port = settings.get("port") or str(_PORTS[security])
    if not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise InvalidError("port: 1 to 65535 is wanted", field="port")
    context = context_of(settings.get("ca", ""))
    if security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port), timeout=5, context=context)
    else:
        server = smtplib.SMTP(host, int(port), timeout=5)
    timer = threading.Timer(_SECONDS - 5, _cut_off, [server])
    timer.daemon = True
    timer.start()
    try:
        if security == "starttls":
            server.starttls(context=context)
        yield server
        with suppress(OSError, smtplib.SMTPException):
            server.quit()
    finally:
        timer.cancel()
        server.close()


def _cut_off(server: smtplib.SMTP) -> None:
    """The time is up: whoever waits for the server gets an error."""
    sock = server.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(2)


def _address(text: str, field: str) -> str:
    found = parseaddr(text.strip())[1]
    if "@" not in found[1:-1] or any(sign.isspace() or ord(sign) < 32 for sign in found):
        raise InvalidError(f"{field}: '{text[:60]}' is no address", field=field)
    return found


def _refusal(field: str, codes: set[int]) -> InvalidError | UnavailableError:
    """4xx is for now, 5xx for good (RFC 5321, 4.2.1)."""
    said = ", ".join(str(code) for code in sorted(codes))
    if min(codes) < 500:
        return UnavailableError(f"the SMTP server is not ready: {said}", retry_after=30)
    return InvalidError(f"the SMTP server refuses the message: {said}", field=field)
