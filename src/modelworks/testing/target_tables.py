"""The pure half of the contract of `Target`: its table, and what it renders. See `targets`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelworks.core.deployment import HOUSE, Share, Support, Wanted, WantedRoute
from modelworks.core.errors import InvalidError
from modelworks.core.seams import OpenTarget, Routing, Target
from modelworks.plugins.load import load
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import fields, leaves
from modelworks.protocol.manifest.route import RouteSpec
from modelworks.testing.target_fields import FIELDS, Pair, pairs, revision_of, spec_of

_EACH = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,  # one suite, several targets
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
_BY_THE_RECONCILER = ("strategy.max_surge",)
"""Nothing that a target without `rolls` has to know."""


@dataclass(frozen=True)
class TableCase:
    """What a target's test provides.

    Attributes:
        kind: under test.
        opened: it only renders: nobody has to answer there.
        common: what every manifest of this target has to say beside what is tested.
    """

    kind: type[Target]
    opened: OpenTarget
    common: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A spec with every default written out."""
        return spec_of(self.kind.name, {**self.common, **(said or {})})

    def rendered(self, spec: Mapping[str, Any]) -> dict[str, str]:
        """Path -> text of what a revision with this spec becomes."""
        return self.texts(wanted_of(self.kind, spec))

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """The same of whatever is wanted."""
        return {one.path: one.text for one in self.opened.render(wanted)}


def wanted_of(kind: type[Target], spec: Mapping[str, Any]) -> Wanted:
    """One revision with this spec, and as many replicas as it says."""
    revision = revision_of(spec, images=kind.images)
    return Wanted(
        "fraud",
        (Share(revision, spec["replicas"]),),
        autoscaling=spec["autoscaling"],
        strategy=spec["strategy"],
    )


def refusals(kind: type[Target], spec: Mapping[str, Any]) -> dict[str, str]:
    """Path -> why what a document says there is refused."""
    why = {}
    for leaf in leaves(DeploymentSpec, spec):
        if leaf.field in HOUSE or leaf.plain:
            continue
        can = kind.capabilities[leaf.field]
        if can.support is Support.REFUSED:
            why[leaf.path] = can.how
        elif can.refuses is not None and (said := can.refuses(leaf.value, spec)):
            why[leaf.path] = said
    return why


class TargetTable:
    """Inherit, and provide `case`."""

    def test_it_is_found_by_its_name(self, case: TableCase) -> None:
        assert load("targets", case.kind.name) is case.kind
        assert all(case.kind.settings.values())
        assert {case.kind.experimental, case.kind.images, case.kind.rolls} <= {True, False}

    def test_the_table_has_every_field_and_no_other(self, case: TableCase) -> None:
        assert set(case.kind.capabilities) == set(FIELDS)

    def test_every_field_says_what_becomes_of_it(self, case: TableCase) -> None:
        for name, can in case.kind.capabilities.items():
            assert can.how.strip(), name
            assert "\n" not in can.how, name
            if can.support is Support.REFUSED:
                assert can.refuses is None, f"{name} is refused whatever it says"

    def test_defaults_are_taken(self, case: TableCase) -> None:
        spec = spec_of(case.kind.name, {})
        for leaf in leaves(DeploymentSpec, spec):
            can = case.kind.capabilities.get(leaf.field)
            if leaf.plain and can is not None and can.refuses is not None:
                assert can.refuses(leaf.value, spec) == "", leaf.path

    @pytest.mark.parametrize("name", FIELDS)
    @given(data=st.data())
    @_EACH
    def test_what_changes_changes_the_objects_or_is_refused(
        self, case: TableCase, name: str, data: st.DataObject
    ) -> None:
        pair: Pair = data.draw(pairs(name, case.kind.name, case.common))
        can = case.kind.capabilities[name]
        why = refusals(case.kind, pair.before) | refusals(case.kind, pair.after)
        if can.support is Support.REFUSED:
            assert why, f"{name} is refused, and this is not: {pair}"
        if why:
            assert all(text.strip() and "\n" not in text for text in why.values()), why
            return
        if case.kind.rolls or name not in _BY_THE_RECONCILER:
            assert case.rendered(pair.before) != case.rendered(pair.after)

    @given(data=st.data())
    @_EACH
    def test_rendering_is_pure(self, case: TableCase, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(FIELDS))
        spec = data.draw(pairs(name, case.kind.name, case.common)).before
        if refusals(case.kind, spec):
            return
        wanted = wanted_of(case.kind, spec)
        first = case.opened.render(wanted)
        assert first == case.opened.render(wanted)
        assert first
        assert len({one.path for one in first}) == len(first)
        for one in first:
            path = PurePosixPath(one.path)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert one.text.endswith("\n")

    def test_labels_are_in_the_objects(self, case: TableCase) -> None:
        wanted = wanted_of(case.kind, case.spec())
        labelled = replace(wanted, labels={"example.com/team": "risk"})
        assert case.texts(wanted) != case.texts(labelled)
        assert any("example.com/team" in text for text in case.texts(labelled).values())

    def test_secrets_are_named_and_never_shown(
        self, case: TableCase, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        hidden = tmp_path_factory.mktemp("secret") / "token"
        hidden.write_text("open-sesame")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODELWORKS_TEST_HIDDEN", "open-sesame")
            for source in ({"file": str(hidden)}, {"variable": "MODELWORKS_TEST_HIDDEN"}):
                for mount in (True, False):
                    secret = {"name": "TOKEN", "source": source, "mount": mount}
                    spec = case.spec({"secrets": [secret]})
                    if refusals(case.kind, spec):
                        continue
                    texts = case.rendered(spec)
                    assert any("TOKEN" in text for text in texts.values())
                    assert not any("open-sesame" in text for text in texts.values())

    def test_two_revisions_are_in_the_objects_while_one_takes_over(self, case: TableCase) -> None:
        spec = case.spec()
        old, new = (revision_of(spec, images=case.kind.images, number=n) for n in (1, 2))
        alone = Wanted("fraud", (Share(new, 1),), strategy=spec["strategy"])
        if case.kind.rolls:
            before = Wanted("fraud", (Share(old, 1),), strategy=spec["strategy"])
            assert case.texts(before) != case.texts(alone)
            return
        both = replace(alone, shares=(Share(new, 1), Share(old, 2)))
        fewer = replace(alone, shares=(Share(new, 1), Share(old, 1)))
        seen = [tuple(case.texts(wanted).items()) for wanted in (alone, both, fewer)]
        assert len(set(seen)) == len(seen)

    def test_a_setting_that_nobody_knows_is_refused(
        self, case: TableCase, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with pytest.raises(InvalidError) as caught:
            case.kind().open({"nobody-knows": "x"}, tmp_path_factory.mktemp("target"))
        assert "nobody-knows" in caught.value.message
        assert caught.value.field == "target.settings.nobody-knows"

    def test_a_target_has_routes_or_says_that_it_has_none(self, case: TableCase) -> None:
        assert isinstance(case.opened, Routing) == bool(case.kind.routes)
        if case.kind.routes:
            assert set(case.kind.routes) == set(fields(RouteSpec))
            assert all(can.how.strip() for can in case.kind.routes.values())

    @pytest.mark.parametrize(
        "said",
        [
            {"host": "fraud.example.com"},
            {"path": "/fraud"},
            {"backends": [{"deployment": "a", "weight": 90}, {"deployment": "b", "weight": 10}]},
            {"backends": [{"deployment": "b"}]},
            {"mirror": {"deployment": "b"}},
            {"mirror": {"deployment": "b", "percent": 7}},
            {"sticky": {"header": "X-User"}},
            {"sticky": {"cookie": "user"}},
            {"timeout_s": 3.0},
        ],
    )
    def test_what_changes_in_a_route_changes_its_objects_or_is_refused(
        self, case: TableCase, said: Mapping[str, Any]
    ) -> None:
        if not isinstance(case.opened, Routing):
            assert not case.kind.routes
            return
        specs = [
            RouteSpec.model_validate({"backends": [{"deployment": "a"}], **more})
            for more in ({}, said)
        ]
        before, after = (spec.model_dump(mode="json") for spec in specs)
        for leaf in leaves(RouteSpec, after):
            can = case.kind.routes[leaf.field]
            if leaf.plain:
                continue
            if can.support is Support.REFUSED:
                return
            if can.refuses is not None and can.refuses(leaf.value, after):
                return
        ports = {"a": 8080, "b": 8081}
        objects = [
            case.opened.render_route(WantedRoute("fraud", spec, ports)) for spec in (before, after)
        ]
        assert objects[0] != objects[1]
