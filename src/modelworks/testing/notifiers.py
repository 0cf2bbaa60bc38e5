"""Contract suite for notifiers over HTTP: subclass `NotifierContract`, give it a case.

A fake of the service answers on 127.0.0.1, and checks every message against what is documented.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from modelworks.core.alerts import Alert, AlertState, Notification, Severity
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.seams import Notifier
from modelworks.plugins.load import load as plugin

SECRET: Final = "5ecretT0kenOfTheReceiver4711"  # noqa: S105 - of a fake
_SECONDS: Final = 0.5
CHINESE: Final = "欺诈模型, 特征“金额”漂移了。立即查看 🙈"
AWKWARD: Final = '<!channel> @all [x](http://evil.example) *b* _i_ `c` & <b> "q" \\ {a} | ~'


@dataclass(frozen=True)
class Received:
    """One request.

    Attributes:
        path: with its query.
        headers: as sent, lower-case names.
        raw: the body.
        at: seconds on a clock that only grows.
    """

    path: str
    headers: Mapping[str, str]
    raw: bytes
    at: float

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)


@dataclass
class FakeService:
    """Answers as it is told; the last answer is given for ever.

    Attributes:
        answers: status, headers, body, and seconds that it takes.
        received: so far.
        url: of it.
    """

    good: tuple[int, bytes]
    answers: list[tuple[int, Mapping[str, str], bytes, float]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    url: str = ""

    def next(self) -> tuple[int, Mapping[str, str], bytes, float]:
        """What the next request is answered."""
        if not self.answers:
            return self.good[0], {}, self.good[1], 0.0
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass(frozen=True)
class NotifierCase:
    """What a notifier's test provides.

    Attributes:
        name: of the notifier.
        settings: those that reach a service at a URL; the secrets lie in files of a folder.
        good: what the service answers where all is well: status and body.
        check: holds one request against what the service documents; raises where it differs.
        refusals: answers that mean "never": status and body.
        busy: answers that mean "later": status and body.
    """

    name: str
    settings: Callable[[str, Path], Mapping[str, str]]
    good: tuple[int, bytes]
    check: Callable[[Received], None]
    refusals: tuple[tuple[int, bytes], ...] = ((400, b"bad"), (403, b"no"), (404, b"none"))
    busy: tuple[tuple[int, bytes], ...] = ()


def alert(rule: str = "Slow", **changes: Any) -> Alert:
    """One that fires."""
    now = 1_790_000_000 * 10**9
    values: dict[str, Any] = {
        "labels": {"model": "fraud", "version": "1.4.0"},
        "state": AlertState.FIRING,
        "severity": Severity.CRITICAL,
        "value": 312.5,
        "summary": "fraud: p99 is 312 ms, over 200",
        "since_ns": now,
        "fired_ns": now + 600 * 10**9,
        "annotations": {"note": "restart the feature store first"},
        "runbook": "https://runbooks.example/slow",
    }
    return Alert(rule=rule, **{**values, **changes})


def ended(rule: str = "Slow", **changes: Any) -> Alert:
    """One that ended."""
    return alert(rule, state=AlertState.RESOLVED, ended_ns=1_790_001_000 * 10**9, **changes)


def told(*alerts: Alert, **changes: Any) -> Notification:
    """A message about some alerts."""
    values: dict[str, Any] = {
        "key": "0123456789abcdef",
        "group": {"model": "fraud"},
        "alerts": alerts or (alert(),),
        "url": "https://modelworks.example/watch",
    }
    return Notification(**{**values, **changes})


class NotifierContract:
    """Inherit, and provide the fixtures `case` and `hurry`: it sets the notifier's deadline."""

    @pytest.fixture
    def service(self, case: NotifierCase) -> Iterator[FakeService]:
        """The fake."""
        found = FakeService(case.good)
        with serving(found):
            yield found

    @pytest.fixture
    def settings(
        self, case: NotifierCase, service: FakeService, tmp_path: Path
    ) -> Mapping[str, str]:
        """That reach it."""
        return case.settings(service.url, tmp_path)

    @pytest.fixture
    def notifier(self, case: NotifierCase) -> Notifier:
        """The plug-in, as it is installed."""
        found: Notifier = plugin("notifiers", case.name)()
        return found

    def test_it_says_what_it_is(
        self, case: NotifierCase, notifier: Notifier, settings: Mapping[str, str]
    ) -> None:
        assert notifier.name == case.name
        assert notifier.experimental in {True, False}
        assert set(settings) <= set(notifier.settings)

    @pytest.mark.parametrize(
        "content",
        [
            told(),
            told(alert(), alert("Drift", severity=Severity.WARNING), ended("Errors")),
            told(ended()),
            told(repeated=True, url=""),
            told(alert(severity=Severity.INFO, labels={}, annotations={}, runbook=""), group={}),
            told(alert(value=float("inf"))),
            told(alert(summary=CHINESE, labels={"model": "欺诈"}), group={"model": "欺诈"}),
            told(alert(summary=AWKWARD, annotations={"note": AWKWARD}, labels={"m": AWKWARD})),
            told(alert(summary="", annotations={"empty": ""})),
            told(alert(summary="two\nlines\r\n", annotations={"n": "a\nb"})),
        ],
    )
    def test_every_message_has_the_documented_shape(
        self,
        case: NotifierCase,
        notifier: Notifier,
        service: FakeService,
        settings: Mapping[str, str],
        content: Notification,
    ) -> None:
        notifier.send(content, settings)
        [request] = service.received
        case.check(request)

    def test_long_ones_are_cut_as_documented(
        self,
        case: NotifierCase,
        notifier: Notifier,
        service: FakeService,
        settings: Mapping[str, str],
    ) -> None:
        long = [alert(f"R{n}", summary=f"{n}" + CHINESE * 100) for n in range(300)]
        notifier.send(told(*long), settings)
        notifier.send(told(alert("R" * 80, summary="&" * 20_000)), settings)
        for request in service.received:
            case.check(request)

    def test_chinese_arrives_as_it_is(
        self, notifier: Notifier, service: FakeService, settings: Mapping[str, str]
    ) -> None:
        notifier.send(told(alert(summary="特征漂移")), settings)
        [request] = service.received
        assert "特征漂移" in json.dumps(request.body, ensure_ascii=False)

    def test_what_is_refused_is_not_tried_again(
        self,
        case: NotifierCase,
        notifier: Notifier,
        service: FakeService,
        settings: Mapping[str, str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        for status, body in case.refusals:
            echo = body + b" " + SECRET.encode() if status != 200 else body
            service.answers, service.received = [(status, {}, echo, 0.0)], []
            with pytest.raises(InvalidError) as caught:
                notifier.send(told(), settings)
            assert len(service.received) == 1
            _quiet(caught.value, caplog)

    def test_who_is_busy_is_asked_again_within_bounds(
        self,
        case: NotifierCase,
        notifier: Notifier,
        service: FakeService,
        settings: Mapping[str, str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        good: tuple[int, Mapping[str, str], bytes, float]
        good = (case.good[0], {}, case.good[1], 0.0)
        service.answers = [(429, {"Retry-After": "1"}, b"", 0.0), good]
        notifier.send(told(), settings)
        first, second = service.received
        assert second.at - first.at >= 0.99
        for status, body in ((503, SECRET.encode()), (429, b""), *case.busy):
            headers = {"Retry-After": "3600"} if status != 200 else {}
            service.answers, service.received = [(status, headers, body, 0.0)], []
            with pytest.raises(UnavailableError) as caught:
                notifier.send(told(), settings)
            assert len(service.received) == 1  # it asks for more time than there is
            assert caught.value.retry_after >= 60
            _quiet(caught.value, caplog)

    def test_redirects_are_not_followed(
        self, notifier: Notifier, service: FakeService, settings: Mapping[str, str]
    ) -> None:
        service.answers = [(307, {"Location": service.url + "/other"}, b"", 0.0)]
        with pytest.raises(InvalidError):
            notifier.send(told(), settings)
        assert len(service.received) == 1

    def test_who_is_slow_or_away_ends_in_unavailable(
        self,
        case: NotifierCase,
        notifier: Notifier,
        service: FakeService,
        tmp_path: Path,
        hurry: Callable[[float], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        hurry(_SECONDS)
        service.answers = [(200, {}, b"", 4 * _SECONDS)]
        for url in (service.url, "http://127.0.0.1:1"):
            begin = time.monotonic()
            with pytest.raises(UnavailableError) as caught:
                notifier.send(told(), case.settings(url, tmp_path))
            assert time.monotonic() - begin < 3 * _SECONDS
            _quiet(caught.value, caplog)

    def test_settings_that_cannot_be_are_named(
        self, notifier: Notifier, settings: Mapping[str, str], tmp_path: Path
    ) -> None:
        wrong = [{**settings, "nobody": "x"}]
        wrong += [
            {**settings, name: str(tmp_path / "away")}
            for name in settings
            if name.endswith("_file")
        ]
        for name in settings:
            if name.endswith("_file"):
                base = name.removesuffix("_file")
                rest = {key: value for key, value in settings.items() if key != name}
                wrong.append({**rest, f"{base}_variable": "MODELWORKS_TEST_NOT_SET"})
        for one in wrong:
            with pytest.raises(InvalidError) as caught:
                notifier.send(told(), one)
            assert caught.value.field in {*one, "nobody"}
            assert "\n" not in caught.value.message


def serving(service: FakeService) -> Any:
    """The fake, answering."""
    return _Serving(service)


class _Serving:
    def __init__(self, service: FakeService) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length)
                service.received.append(Received(self.path, headers, body, time.monotonic()))
                status, more, answer, wait = service.next()
                time.sleep(wait)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with suppress(OSError):  # who asked has gone
                    self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        service.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _quiet(error: ModelworksError, caplog: pytest.LogCaptureFixture) -> None:
    """No secret in what people see, and one line."""
    assert SECRET not in error.message
    assert SECRET not in caplog.text
    assert "\n" not in error.message
