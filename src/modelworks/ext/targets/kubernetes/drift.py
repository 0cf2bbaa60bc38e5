"""Where an object differs from what was applied, and who changed it. Pure.

Only fields that we said are looked at: what the cluster and others write beside them is theirs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from modelworks.ext.targets.kubernetes.cluster import MANAGER
from modelworks.ext.targets.kubernetes.objects.asked import Object

_MISSING: Final = object()
_LONGEST: Final = 60
_Way = tuple[str, ...]


def changes(applied: Object, live: Object | None) -> list[str]:
    """One line a field: `deployment fraud: spec.replicas is 5, was 2 (kubectl)`."""
    what = f"{applied['kind'].lower()} {applied['metadata']['name']}"
    if live is None:
        return [f"{what} is gone"]
    lines = []
    for way, here, there in _differences(applied, live, ()):
        who = owner(live, way)
        now = "is gone" if there is _MISSING else f"is {_short(there)}"
        by = f" ({who})" if who else ""
        lines.append(f"{what}: {_path(way)} {now}, was {_short(here)}{by}")
    return lines


def owner(live: Object, way: _Way) -> str:
    """Who says a field, beside us; "" = nobody knows."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER:
            continue
        at: Any = entry.get("fieldsV1") or {}
        for name in way:
            at = _below(at, name) if isinstance(at, Mapping) else None
            if at is None:
                break
        else:
            return str(entry.get("manager"))
    return ""


def _below(at: Mapping[str, Any], name: str) -> Any:
    if f"f:{name}" in at:
        return at[f"f:{name}"]
    for key, value in at.items():
        if key.startswith("k:") and name in {str(v) for v in json.loads(key[2:]).values()}:
            return value
    return None


def _differences(here: Any, there: Any, way: _Way) -> Iterator[tuple[_Way, Any, Any]]:
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key, value in here.items():
            yield from _differences(value, there.get(key, _MISSING), (*way, key))
    elif isinstance(here, list) and isinstance(there, list):
        yield from _listed(here, there, way)
    elif here != there and not (there is _MISSING and _empty(here)):
        yield way, here, there


def _listed(here: list[Any], there: list[Any], way: _Way) -> Iterator[tuple[_Way, Any, Any]]:
    if _named(here) and _named(there):
        found = {one["name"]: one for one in there}
        for one in here:
            name = one["name"]
            yield from _differences(one, found.get(name, _MISSING), (*way, name))
    elif len(here) != len(there):
        yield way, here, there
    else:
        for place, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from _differences(one, other, (*way, str(place)))


def _named(members: Sequence[Any]) -> bool:
    return all(isinstance(one, Mapping) and "name" in one for one in members)


def _empty(value: Any) -> bool:
    """Whether the cluster leaves it out: Go's zero values."""
    return value in ("", 0, None) or value in ([], {})


def _path(way: _Way) -> str:
    return ".".join(way)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
