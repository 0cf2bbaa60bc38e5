"""Contract suite for writers of proxies' configuration: the real program carries every field.

Subclasses give a fixture `proxy`: a `Proxy`. What the table of a writer refuses has to be refused;
all else has to be seen.
"""

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelworks.control.proxies.writing import checked, kept, written
from modelworks.core.deployment import Support
from modelworks.core.errors import InvalidError, UnavailableError, UnsupportedError
from modelworks.core.proxies import Listen, RouteWriter
from modelworks.core.routes import Limit, Pass, Retries, Shadow, Snapshot, Source, Sticky
from modelworks.testing.proxied import Caller, arm, snapshot, upstream

NO_RETRIES = Retries(most=0)
_PASS = Pass("ci")


@dataclass(slots=True)
class Proxy:
    """A writer and its program.

    Attributes:
        writer: that is tested.
        program: its path.
        folder: for its files.
        start: of a port: runs it in the folder from entering to leaving.
        reload: makes the running one take what lies in the folder now.
        ports: gives free ports.
        own_cookie: it keeps callers by a cookie that it writes itself.
        cut: requests that may be lost when a server goes: sent on a connection that broke then,
            which it does not repeat.
    """

    writer: RouteWriter
    program: str
    folder: Path
    start: Callable[[int], AbstractContextManager[subprocess.Popen[bytes]]]
    reload: Callable[[subprocess.Popen[bytes]], None]
    ports: Callable[[], int]
    own_cookie: bool = False
    cut: int = 0

    def does(self, field: str) -> bool:
        """Whether its table has the field."""
        return self.writer.capabilities[field].support is not Support.REFUSED

    def write(self, given: Snapshot, port: int) -> None:
        """Write, check and keep."""
        files, _ = written(self.writer, given, Listen(port=port))
        checked(self.writer, files, self.program)
        kept(files, self.folder)


class RouteWriterContract:
    """What every writer owes."""

    def test_every_field_has_an_answer_and_none_is_lost(self, proxy: Proxy) -> None:
        """A field of its own each; the reason names the field."""
        base = snapshot(
            [arm("a", "http://127.0.0.1:1"), arm("b", "http://127.0.0.1:2")], [0.5, 0.5]
        )
        (route,) = base.routes
        breaker = route.breaker
        cases: dict[str, dict[str, Any]] = {
            "salt": {"salt": "pepper"},
            "sticky.header": {"sticky": Sticky(Source.HEADER, "x-user")},
            "sticky.cookie": {"sticky": Sticky(Source.COOKIE, "user")},
            "sticky.field": {"sticky": Sticky(Source.FIELD, "user")},
            "override": {"override": "x-arm"},
            "shadows": {"shadows": (Shadow("b", compare=False),)},
            "shadows.compare": {"shadows": (Shadow("b"),)},
            "arms.model": {"arms": (replace(route.arms[0], model="other"), route.arms[1])},
            "arms.version": {"arms": (replace(route.arms[0], version="2"), route.arms[1])},
            "arms.headers": {"arms": (replace(route.arms[0], headers={"x-a": "1"}), route.arms[1])},
            "timeout_s": {"timeout_s": 3.0},
            "retries.most": {"retries": Retries(most=2)},
            "retries.budget": {"retries": Retries(budget=0.5)},
            "hedge_ms": {"hedge_ms": 20.0},
            "breaker.failures": {"breaker": replace(breaker, failures=2)},
            "breaker.rest_s": {"breaker": replace(breaker, rest_s=2.0)},
            "breaker.most_ejected": {"breaker": replace(breaker, most_ejected=0.9)},
            "breaker.outstanding": {"breaker": replace(breaker, outstanding=7)},
            "fallback": {"fallback": "a"},
            "limit.rate": {"limit": Limit(rate=10.0)},
            "limit.quota": {"limit": Limit(quota=10)},
        }
        written(proxy.writer, base, Listen())
        for field, changes in cases.items():
            given = Snapshot(1, (replace(route, **changes),))
            if proxy.does(field):
                files, answers = written(proxy.writer, given, Listen())
                assert files, field
                assert any(one.path.endswith(field.split(".")[-1]) for one in answers)
            else:
                with pytest.raises(UnsupportedError, match=field.split(".")[-1]):
                    written(proxy.writer, given, Listen())

    def test_keys_are_refused_and_names_that_mean_something_else(self, proxy: Proxy) -> None:
        """No key is dropped silently, no text breaks out of its place."""
        base = snapshot([arm("a", "http://127.0.0.1:1")], [1])
        with pytest.raises(UnsupportedError, match="keys"):
            written(proxy.writer, replace(base, keys={"0" * 64: _PASS}), Listen())
        for name in ('a"; deny all; "', "a\nb", "a b", "a`b", "a{b}", "a$b"):
            bad = Snapshot(1, (replace(base.routes[0], name=name, model="", path="/x"),))
            with pytest.raises(InvalidError):
                written(proxy.writer, bad, Listen())
            bad = Snapshot(1, (replace(base.routes[0], model="", path="/" + name),))
            with pytest.raises(InvalidError):
                written(proxy.writer, bad, Listen())

    def test_the_same_snapshot_gives_the_same_bytes(self, proxy: Proxy) -> None:
        """Twice is as once."""
        base = snapshot(
            [arm("a", "http://127.0.0.1:1"), arm("b", "http://127.0.0.1:2")], [0.9, 0.1]
        )
        first, second = (written(proxy.writer, base, Listen())[0] for _ in range(2))
        assert first == second

    def test_the_program_itself_refuses_what_is_broken(self, proxy: Proxy) -> None:
        """And a program that is not there is told with its cure."""
        base = snapshot([arm("a", "http://127.0.0.1:1")], [1])
        files, _ = written(proxy.writer, base, Listen(port=proxy.ports()))
        broken = [replace(one, text=one.text.replace("modelworks", "{", 1) + "}}") for one in files]
        with pytest.raises(InvalidError):
            checked(proxy.writer, broken, proxy.program)
        with pytest.raises(UnavailableError, match="install"):
            checked(proxy.writer, files, "/nowhere/" + proxy.writer.program)

    def test_shares_override_and_headers(self, proxy: Proxy) -> None:
        """A tenth is a tenth (chi-square at 1e-6), who asks for an arm gets it."""
        with upstream("one", proxy.ports()) as one, upstream("two", proxy.ports()) as two:
            fields = {"headers": {"x-from": "tests"}} if proxy.does("arms.headers") else {}
            arms = [arm("fraud/1", one.url), arm("fraud/2", two.url, **fields)]
            port = proxy.ports()
            proxy.write(snapshot(arms, [0.9, 0.1], override="x-arm"), port)
            with proxy.start(port):
                caller = Caller(port)
                found = Counter(caller.who() for _ in range(2000))
                # 23.9 = the 1 - 1e-6 quantile of chi-square with one degree of freedom.
                assert sum((found[n] - e) ** 2 / e for n, e in (("one", 1800), ("two", 200))) < 23.9
                assert {caller.who({"x-arm": "fraud/2"}) for _ in range(20)} == {"two"}
                assert two.headers.get("x-from") == fields.get("headers", {}).get("x-from")
                assert caller.ask(path="/v2/models/frauds/infer")[0] == 404
                assert caller.ask(path="/elsewhere")[0] == 404
                assert caller.ask(path=f"/predict/{'fraud'}")[0] == 200
                assert caller.ask(body=b"x" * 3_000_000)[0] == 200
                assert (one.bodies + two.bodies)[3_000_000] == 1

    @pytest.mark.parametrize("source", [Source.HEADER, Source.COOKIE])
    def test_callers_stay_and_few_move(self, proxy: Proxy, source: Source) -> None:
        """By key one arm; from 5 to 20 % some 15 % of the callers move, to the candidate."""
        if not proxy.does(f"sticky.{source}"):
            return  # it is refused: see the first test
        if proxy.own_cookie:
            _by_its_own(proxy)
            return
        with upstream("one", proxy.ports()) as one, upstream("two", proxy.ports()) as two:
            arms = [arm("one", one.url), arm("two", two.url)]
            sticky = Sticky(source, "user")
            port = proxy.ports()
            proxy.write(snapshot(arms, [0.95, 0.05], sticky=sticky), port)
            with proxy.start(port) as running:
                caller = Caller(port)
                before = _by_key(caller, source, 600)
                assert before == _by_key(caller, source, 600)
                proxy.write(snapshot(arms, [0.8, 0.2], sticky=sticky), port)
                proxy.reload(running)
                _until(lambda: _by_key(caller, source, 600) != before)
                after = _by_key(caller, source, 600)
            moved = {key for key in before if before[key] != after[key]}
            assert 0.09 < len(moved) / 600 < 0.22  # 0.15, within four standard deviations
            assert {after[key] for key in moved} == {"two"}

    def test_shadows_get_copies_and_callers_their_answers(self, proxy: Proxy) -> None:
        """A slow, failing shadow is not seen; half of the requests are sampled."""
        if not proxy.does("shadows"):
            return  # it is refused: see the first test
        with upstream("one", proxy.ports()) as one, upstream("copy", proxy.ports()) as copy:
            copy.status = 500
            arms = [arm("one", one.url), arm("copy", copy.url)]
            shadow = Shadow("copy", share=0.5, compare=False)
            port = proxy.ports()
            proxy.write(snapshot(arms, [1, 0], shadows=(shadow,)), port)
            with proxy.start(port):
                caller = Caller(port)
                assert {caller.who() for _ in range(400)} == {"one"}
                _until(lambda: copy.asked > 120)
                time.sleep(0.3)
            assert one.asked == 400
            assert 120 < copy.asked < 280  # 200, within eight standard deviations

    def test_while_one_lives_every_caller_is_answered(self, proxy: Proxy) -> None:
        """One of two servers goes away under load: it is tried elsewhere."""
        with upstream("one", proxy.ports()) as one:
            port = proxy.ports()
            with upstream("two", proxy.ports()) as two:
                both = arm("fraud", one.url, two.url)
                proxy.write(snapshot([both], [1]), port)
                running = proxy.start(port)
                running.__enter__()
                caller = Caller(port)
                found = Counter(caller.who() for _ in range(200))
                assert set(found) == {"one", "two"}
            try:
                said = [caller.ask() for _ in range(200)]
                lost = [(at, one) for at, one in enumerate(said) if one[0] != 200]
                assert len(lost) <= proxy.cut, lost
                assert all(at < 50 and status == 502 for at, (status, _) in lost), lost
                assert {who for _, who in said[50:]} == {"one"}
            finally:
                running.__exit__(None, None, None)

    def test_a_fallback_answers_where_an_arm_has_nobody(self, proxy: Proxy) -> None:
        """The candidate's only server is gone."""
        with upstream("one", proxy.ports()) as one:
            arms = [arm("one", one.url), arm("two", f"http://127.0.0.1:{proxy.ports()}")]
            port = proxy.ports()
            proxy.write(snapshot(arms, [0, 1], fallback="one"), port)
            with proxy.start(port):
                caller = Caller(port)
                _until(lambda: caller.ask()[0] == 200)
                assert {caller.who() for _ in range(50)} == {"one"}

    def test_a_limit_and_a_timeout(self, proxy: Proxy) -> None:
        """Too many are told so with 429, who waits too long with 504."""
        with upstream("one", proxy.ports()) as one:
            arms = [arm("one", one.url)]
            port = proxy.ports()
            limit = Limit(rate=2.0, burst=10)
            proxy.write(snapshot(arms, [1], limit=limit, timeout_s=1.0, retries=_few(proxy)), port)
            with proxy.start(port):
                caller = Caller(port)
                found = Counter(caller.ask()[0] for _ in range(60))
                assert set(found) == {200, 429}
                assert 8 <= found[200] <= 25
                one.slow_s = 3.0
                time.sleep(6.0)  # the limit forgets
                assert caller.ask()[0] == 504

    def test_a_new_snapshot_loses_no_request(self, proxy: Proxy) -> None:
        """Written again and again under load: from any earlier files to the next ones."""
        with upstream("one", proxy.ports()) as one, upstream("two", proxy.ports()) as two:
            arms = [arm("one", one.url), arm("two", two.url)]
            port = proxy.ports()
            proxy.write(snapshot(arms, [1, 0]), port)
            with proxy.start(port) as running:
                caller = Caller(port)
                assert caller.who() == "one"
                for shares in ([0.5, 0.5], [0, 1], [1, 0], [0, 1]):
                    proxy.write(snapshot(arms, shares), port)
                    proxy.reload(running)
                    assert {Caller(port).ask()[0] for _ in range(40)} == {200}
                _until(lambda: {Caller(port).who() for _ in range(10)} == {"two"})


def _two(share: float) -> Snapshot:
    """A route of two arms; the second has the share."""
    arms = [arm("a", "http://127.0.0.1:1"), arm("b", "http://127.0.0.1:2")]
    return snapshot(arms, [1 - share, share])


def _by_its_own(proxy: Proxy) -> None:
    """A proxy that gives callers a cookie keeps those who bring it back."""
    with upstream("one", proxy.ports()) as one, upstream("two", proxy.ports()) as two:
        arms = [arm("one", one.url), arm("two", two.url)]
        port = proxy.ports()
        proxy.write(snapshot(arms, [0.5, 0.5], sticky=Sticky(Source.COOKIE, "user")), port)
        with proxy.start(port):
            caller = Caller(port)
            for _ in range(10):
                cookie, who = caller.cookie()
                assert cookie.startswith("user=")
                assert {caller.who({"cookie": cookie}) for _ in range(20)} == {who}


def _few(proxy: Proxy) -> Retries:
    """No retries: a time-out would be tried again."""
    return NO_RETRIES if proxy.does("retries.most") else Retries()


def _by_key(caller: Caller, source: Source, count: int) -> dict[int, str]:
    """Who answers each key."""
    found = {}
    for number in range(count):
        key = f"user-{number}"
        header = {"user": key} if source is Source.HEADER else {"cookie": f"user={key}"}
        found[number] = caller.who(header)
    return found


def _until(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something; an error when it never comes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
