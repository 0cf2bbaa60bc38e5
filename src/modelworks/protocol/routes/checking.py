"""Whether a snapshot can be gone by: every name in it is known, and no bucket is without an arm."""

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.discovery import is_named, named_of
from modelworks.core.errors import InvalidError
from modelworks.core.routes import BUCKETS, Arm, Endpoint, Limit, Pass, Route, Snapshot, Source

MOST_ARMS: Final = 64
"""Of one route."""
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]*")


def check(snapshot: Snapshot, breathe: Callable[[], None] = lambda: None) -> None:
    """Refuse what no data plane can carry out.

    Args:
        snapshot: to look at.
        breathe: called between steps; see `core.breath`.

    Raises:
        InvalidError: with the first field that is wrong, `routes[3].spans[1].first`.
    """
    _need(snapshot.generation >= 0, "generation", "it is not negative")
    seen: set[str] = set()
    for place, route in enumerate(snapshot.routes):
        where = f"routes[{place}]"
        check_route(route, where)
        _need(route.name not in seen, f"{where}.name", f"another route is called {route.name!r}")
        seen.add(route.name)
        breathe()
    for digest, entry in snapshot.keys.items():
        check_key(digest, entry)
        breathe()
    for tenant, limit in snapshot.limits.items():
        check_limit(limit, f"limits.{tenant}")
    if snapshot.tokens is not None:
        _need(bool(snapshot.tokens.keys), "tokens.keys", "without a public key no token is good")
        _need(bool(snapshot.tokens.name), "tokens.name", "the claim with the caller's name")


def check_route(route: Route, where: str) -> None:
    """One route; see `check`."""
    _text(route.name, f"{where}.name", empty=False)
    _text(route.salt, f"{where}.salt")
    _text(route.tenant, f"{where}.tenant", empty=False)
    _need(
        not route.host or _HOST.fullmatch(route.host) is not None,
        f"{where}.host",
        f"{route.host!r} is no host in lower case, api.example.com or *.example.com",
    )
    _need(route.path.startswith("/"), f"{where}.path", "it begins with a slash")
    arms = _check_arms(route.arms, where)
    _check_spans(route, arms, where)
    if route.sticky is not None:
        name = f"{where}.sticky.name"
        _text(route.sticky.name, name, empty=False)
        if route.sticky.source is Source.HEADER:
            _header(route.sticky.name, name)
    if route.override:
        _header(route.override, f"{where}.override")
    for place, shadow in enumerate(route.shadows):
        at = f"{where}.shadows[{place}]"
        _known(shadow.arm, arms, f"{at}.arm")
        _need(0 <= shadow.share <= 1, f"{at}.share", "0 to 1 is wanted")
    if route.fallback:
        _known(route.fallback, arms, f"{where}.fallback")
    _check_trying(route, where)
    if route.limit is not None:
        check_limit(route.limit, f"{where}.limit")


def check_key(digest: str, entry: Pass) -> None:
    """One key; see `check`."""
    where = f"keys.{digest[:12]}"
    _need(_HEX.fullmatch(digest) is not None, where, "a key stands by its SHA-256, 64 hex digits")
    _text(entry.name, f"{where}.name", empty=False)
    _text(entry.tenant, f"{where}.tenant", empty=False)
    _need(entry.until_ns >= 0, f"{where}.until_ns", "nanoseconds since 1970 UTC, or 0")
    if entry.limit is not None:
        check_limit(entry.limit, f"{where}.limit")
    _need(entry.tokens >= 0, f"{where}.tokens", "tokens, or 0")
    _need(0 < entry.tokens_s < float("inf"), f"{where}.tokens_s", "seconds above 0 are wanted")


def check_limit(limit: Limit, where: str) -> None:
    """One limit; see `check`."""
    _need(0 <= limit.rate < float("inf"), f"{where}.rate", "requests a second, or 0")
    _need(limit.burst >= 1, f"{where}.burst", "1 at the least, or nothing ever passes")
    _need(limit.quota >= 0, f"{where}.quota", "requests, or 0")
    _need(0 < limit.quota_s < float("inf"), f"{where}.quota_s", "seconds above 0 are wanted")


def _check_arms(arms: Sequence[Arm], where: str) -> set[str]:
    _need(0 < len(arms) <= MOST_ARMS, f"{where}.arms", f"1 to {MOST_ARMS} are wanted")
    names: set[str] = set()
    for place, arm in enumerate(arms):
        at = f"{where}.arms[{place}]"
        _text(arm.name, f"{at}.name", empty=False)
        _need(arm.name not in names, f"{at}.name", f"another arm is called {arm.name!r}")
        _need(not arm.name.startswith("~"), f"{at}.name", "it does not begin with ~")
        names.add(arm.name)
        for number, endpoint in enumerate(arm.endpoints):
            _check_endpoint(endpoint, f"{at}.endpoints[{number}].url")
        for name, value in arm.headers.items():
            _header(name, f"{at}.headers")
            _text(value, f"{at}.headers.{name}")
    return names


def _check_endpoint(endpoint: Endpoint, field: str) -> None:
    url = endpoint.url
    if url.startswith("unix:"):
        _need(url[5:].startswith("/"), field, f"{url!r}: unix:/run/a.sock is wanted")
        return
    if is_named(url):
        try:
            named_of(url)
        except InvalidError as error:
            raise InvalidError(f"{field}: {error.message}", field=field) from None
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        raise InvalidError(f"{field}: {url!r} has no port", field=field) from None
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    _need(good and not rest, field, f"{url!r}: http://HOST:PORT is wanted, without a path")


def _check_spans(route: Route, arms: set[str], where: str) -> None:
    _need(bool(route.spans), f"{where}.spans", f"they cover 0 to {BUCKETS}, and there is none")
    first = 0
    for place, span in enumerate(route.spans):
        at = f"{where}.spans[{place}]"
        _known(span.arm, arms, f"{at}.arm")
        what = "a gap" if span.first > first else "an overlap"
        _need(span.first == first, f"{at}.first", f"{what}: it begins at {span.first}, not {first}")
        _need(span.first < span.end <= BUCKETS, f"{at}.end", f"{span.first + 1} to {BUCKETS}")
        first = span.end
    _need(first == BUCKETS, f"{where}.spans", f"a gap: the last one ends at {first}, not {BUCKETS}")


def _check_trying(route: Route, where: str) -> None:
    retries, breaker = route.retries, route.breaker
    _need(0 <= route.timeout_s < float("inf"), f"{where}.timeout_s", "seconds, or 0")
    _need(0 <= route.hedge_ms < float("inf"), f"{where}.hedge_ms", "milliseconds, or 0")
    _need(0 <= retries.most <= 10, f"{where}.retries.most", "0 to 10")
    _need(0 <= retries.budget <= 1, f"{where}.retries.budget", "a share, 0 to 1")
    good = all(400 <= status <= 599 for status in retries.statuses)
    _need(good, f"{where}.retries.statuses", "400 to 599")
    _need(breaker.failures >= 0, f"{where}.breaker.failures", "a number, or 0")
    _need(0 < breaker.rest_s <= 3600, f"{where}.breaker.rest_s", "seconds above 0, an hour at most")
    _need(0 <= breaker.most_ejected <= 1, f"{where}.breaker.most_ejected", "a share, 0 to 1")
    _need(breaker.outstanding >= 0, f"{where}.breaker.outstanding", "a number, or 0")


def _known(arm: str, arms: set[str], field: str) -> None:
    _need(arm in arms, field, f"there is no arm {arm!r}; there are {', '.join(sorted(arms))}")


def _header(name: str, field: str) -> None:
    good = _HEADER.fullmatch(name) is not None
    _need(good, field, f"{name!r} is no name of a header in lower case")


def _text(text: str, field: str, *, empty: bool = True) -> None:
    good = _TEXT.fullmatch(text) is not None and (empty or bool(text)) and len(text) <= 256
    _need(good, field, "a text of at most 256 characters is wanted, without control characters")


def _need(good: bool, field: str, message: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not good:
        raise InvalidError(f"{field}: {message}", field=field)
