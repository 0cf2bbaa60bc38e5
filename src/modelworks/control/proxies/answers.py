"""What a proxy does with every field of a snapshot: honoured, emulated or refused. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.deployment import Capability, Support, honoured, refused
from modelworks.core.errors import CrashedError
from modelworks.core.plans import Answer
from modelworks.core.proxies import RouteWriter
from modelworks.core.routes import Arm, Breaker, Limit, Retries, Route, Snapshot, Source, Span

_EVERY: Final[Mapping[str, Capability]] = {
    "name": honoured("names what is written of it"),
    "arms": honoured("who may answer"),
    "spans": honoured("shares of the buckets"),
    "model": honoured(
        "paths of the model",
        lambda _, route: "" if route["path"] == "/" else "together with a path it is refused",
    ),
    "host": honoured("the request's host"),
    "path": honoured("where paths begin"),
    "tenant": honoured("kept; there are no keys to hold it against"),
}
"""Fields that are the same for every proxy."""
_KEYS: Final = refused(
    "no proxy knows our keys: let the servers behind it ask for them, and write the routes without"
)


def of_snapshot(writer: RouteWriter, snapshot: Snapshot) -> tuple[Answer, ...]:
    """Every field of every route, and the keys and limits beside them."""
    found = [
        _answer(f"routes[{number}].{path}", value, field, writer, codec.encode(route), plain=plain)
        for number, route in enumerate(snapshot.routes)
        for path, field, value, plain in _leaves(route)
    ]
    for name in ("keys", "tokens", "limits"):
        value = codec.encode(getattr(snapshot, name))
        plain = not value
        support = Support.HONOURED if plain else Support.REFUSED
        found.append(
            Answer(
                name, sorted(value or {}), support, "there are none" if plain else _KEYS.how, plain
            )
        )
    return tuple(found)


def _answer(
    path: str,
    value: Any,
    field: str,
    writer: RouteWriter,
    route: Mapping[str, Any],
    *,
    plain: bool,
) -> Answer:
    capability = {**_EVERY, **writer.capabilities}.get(field)
    if capability is None:
        raise CrashedError(f"the proxy '{writer.name}' does not say what it does with '{field}'")
    support, how = capability.support, capability.how
    if support is Support.REFUSED and plain:
        support, how = Support.HONOURED, "as it is anyway"
    elif support is not Support.REFUSED and capability.refuses is not None and not plain:
        why = capability.refuses(value, route)
        if why:
            support, how = Support.REFUSED, why
    return Answer(path, value, support, how, plain)


def _leaves(route: Route) -> Iterator[tuple[str, str, Any, bool]]:
    """(path, field of a capability table, value, whether it says what goes without saying)."""
    yield "name", "name", route.name, False
    yield "arms", "arms", [arm.name for arm in route.arms], False
    yield "spans", "spans", _shares(route.spans), False
    for name in ("model", "host", "path", "tenant", "salt", "override", "timeout_s", "hedge_ms"):
        value = getattr(route, name)
        yield name, name, value, value == Route.__dataclass_fields__[name].default
    yield "fallback", "fallback", route.fallback, not route.fallback
    for number, arm in enumerate(route.arms):
        yield from _arm(f"arms[{number}]", arm)
    for source in Source:
        key = route.sticky.name if route.sticky and route.sticky.source is source else ""
        yield f"sticky.{source}", f"sticky.{source}", key, not key
    names = [shadow.arm for shadow in route.shadows]
    yield "shadows", "shadows", names, not names
    for number, shadow in enumerate(route.shadows):
        yield f"shadows[{number}].compare", "shadows.compare", shadow.compare, not shadow.compare
    for name, given, usual in (
        ("retries", route.retries, Retries()),
        ("breaker", route.breaker, Breaker()),
        ("limit", route.limit or Limit(), Limit()),
    ):
        plain = codec.encode(usual)
        for field, value in codec.encode(given).items():
            yield f"{name}.{field}", f"{name}.{field}", value, value == plain[field]


def _arm(path: str, arm: Arm) -> Iterator[tuple[str, str, Any, bool]]:
    for name, value in (("model", arm.model), ("version", arm.version)):
        yield f"{path}.{name}", f"arms.{name}", value, not value
    yield f"{path}.headers", "arms.headers", dict(arm.headers), not arm.headers
    zones = sorted({endpoint.zone for endpoint in arm.endpoints if endpoint.zone})
    yield f"{path}.endpoints.zone", "arms.endpoints.zone", zones, not zones


def _shares(spans: tuple[Span, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for span in spans:
        found[span.arm] = found.get(span.arm, 0) + span.end - span.first
    return found
