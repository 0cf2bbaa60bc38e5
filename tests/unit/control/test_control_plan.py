"""What is served, decided without touching anything."""

import pytest

from modelworks.control import plan
from modelworks.core.semver import Semver
from modelworks.core.served import ServedList, ServedModel

pytestmark = pytest.mark.unit

V = Semver.parse


@pytest.mark.parametrize(
    ("versions", "aliases", "wanted", "expected"),
    [
        (["1.0.0"], {}, None, "1.0.0"),
        (["1.0.0", "1.1.0"], {}, None, "1.1.0"),
        (["1.0.0", "1.1.0"], {"champion": "1.0.0"}, None, "1.0.0"),
        (["1.1.0", "1.2.0"], {"champion": "1.0.0"}, None, "1.2.0"),
        (["1.0.0", "1.1.0"], {"challenger": "1.0.0"}, None, "1.1.0"),
        (["1.0.0", "1.1.0"], {"champion": "1.1.0"}, "1.0.0", "1.0.0"),
        (["9.0.0", "10.0.0"], {}, None, "10.0.0"),
    ],
)
def test_one_default(versions, aliases, wanted, expected):
    pointing = {alias: V(number) for alias, number in aliases.items()}
    found = plan.default_of(map(V, versions), pointing, wanted and V(wanted))
    assert found == V(expected)


def chosen(lines, aliases):
    found = plan.choose(
        {name: {V(n): f"digest-{n}" for n in line} for name, line in lines.items()},
        {name: {a: V(n) for a, n in pointing.items()} for name, pointing in aliases.items()},
    )
    return [(c.name, str(c.version), c.default, c.aliases) for c in found]


def test_up_serves_champions_or_latest_and_all_that_is_pointed_at():
    lines = {"fraud": ["1.0.0", "1.1.0", "1.2.0", "1.3.0"], "churn": ["1.0.0", "2.0.0"]}
    aliases = {"fraud": {"champion": "1.1.0", "challenger": "1.2.0", "best": "1.1.0"}}
    assert chosen(lines, aliases) == [
        ("churn", "2.0.0", True, ()),
        ("fraud", "1.1.0", True, ("best", "champion")),
        ("fraud", "1.2.0", False, ("challenger",)),
    ]


def test_an_alias_of_a_version_that_is_gone_is_left_out():
    assert chosen({"fraud": ["1.0.0"]}, {"fraud": {"old": "0.9.0"}, "nobody": {"a": "1.0.0"}}) == [
        ("fraud", "1.0.0", True, ())
    ]
    assert chosen({}, {}) == []


def test_the_list_is_bounded_and_defaults_come_first():
    lines = {f"m{i:03}": {V(f"1.{n}.0"): "d" for n in range(3)} for i in range(200)}
    aliases = {name: {f"a{n}": V(f"1.{n}.0") for n in range(2)} for name in lines}
    found = plan.choose(lines, aliases)
    assert len(found) == plan.MAX_LISTED
    assert {c.name for c in found if c.default} == lines.keys()
    assert sum(c.autoload for c in found) == plan.MAX_AUTOLOADED
    assert all(c.default for c in found if c.autoload)
    assert found == sorted(found, key=lambda c: (c.name, c.version))


def test_a_generation_rises_only_with_a_change():
    one, two = (ServedModel("m", n, "/p", "d") for n in ("1.0.0", "1.1.0"))
    first = plan.advance(None, [one])
    assert first == ServedList(1, (one,))
    assert plan.advance(first, [one]) is first
    second = plan.advance(first, [one, two])
    assert second.generation == 2
    assert plan.advance(second, [one]).generation == 3
