"""Snapshots of other versions: today's is read tomorrow, tomorrow's is refused by name today."""

import json
from pathlib import Path

import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.routes import Source
from modelworks.gateway.follow import parse_snapshot
from modelworks.protocol.routes import check

pytestmark = pytest.mark.unit

KEPT = Path(__file__).parents[2] / "data" / "gateway" / "snapshot-0.1.json"
"""Every field that a snapshot of 0.1 has, none at its default: never to be written anew."""


def test_a_snapshot_of_the_first_version_is_read_whole():
    snapshot = parse_snapshot(KEPT.read_bytes())
    check(snapshot)
    told, read = json.loads(KEPT.read_text()), codec.encode(snapshot)
    assert _within(told, read) == []
    assert snapshot.routes[0].sticky.source is Source.HEADER
    assert snapshot.routes[0].limit.quota_s == 3600.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda told: told.update(epoch=3), "epoch"),
        (lambda told: told["routes"][0].update(mirror_percent=3), r"routes\[0\].mirror_percent"),
        (
            lambda told: told["routes"][0]["arms"][1].update(weight=1),
            r"routes\[0\].arms\[1\].weight",
        ),
        (lambda told: told["routes"][0]["sticky"].update(source="query"), r"sticky.source"),
    ],
)
def test_what_a_later_version_adds_is_refused_by_its_name(change, field):
    told = json.loads(KEPT.read_text())
    change(told)
    with pytest.raises(InvalidError, match=field):
        parse_snapshot(json.dumps(told).encode())


def test_fields_that_an_earlier_version_did_not_write_have_their_defaults():
    told = json.loads(KEPT.read_text())
    for name in ("hedge_ms", "breaker", "fallback", "override", "limit", "shadows", "salt"):
        del told["routes"][0][name]
    route = parse_snapshot(json.dumps(told).encode()).routes[0]
    assert (route.hedge_ms, route.breaker.failures, route.fallback) == (0.0, 5, "")


def _within(told, read, where="") -> list[str]:
    """Where what was read lacks what the file says, or has something else."""
    if isinstance(told, dict):
        return [
            odd
            for key, value in told.items()
            for odd in (
                _within(value, read[key], f"{where}.{key}") if key in read else [f"{where}.{key}"]
            )
        ]
    if isinstance(told, list) and len(told) == len(read):
        pairs = enumerate(zip(told, read, strict=True))
        return [odd for i, (a, b) in pairs for odd in _within(a, b, f"{where}[{i}]")]
    return [] if told == read else [where]
