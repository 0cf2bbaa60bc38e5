"""What the registry decides, without a database."""

import math

import pytest

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.model import Artifact, Evidence, Lineage, ModelVersion, Verdict
from modelworks.core.semver import Bump, Semver
from modelworks.registry import rules
from modelworks.testing.candidates import signature

pytestmark = pytest.mark.unit

V = Semver.parse


@pytest.mark.parametrize(
    ("latest", "new", "bump", "expected"),
    [
        (None, signature(), None, "1.0.0"),
        (None, signature(), Bump.PATCH, "1.0.0"),
        (("1.2.3", signature()), signature(), None, "1.3.0"),
        (("1.2.3", signature()), signature(4), None, "2.0.0"),
        (("1.2.3", signature()), signature(output="z"), None, "2.0.0"),
        (("1.2.3", signature()), signature(), Bump.PATCH, "1.2.4"),
        (("1.2.3", signature()), signature(4), Bump.PATCH, "1.2.4"),
        (("1.2.3", signature()), signature(), Bump.MAJOR, "2.0.0"),
    ],
)
def test_the_next_version(latest, new, bump, expected):
    before = latest and (V(latest[0]), latest[1])
    assert rules.next_version(before, new, None, bump) == V(expected)


def test_an_explicit_version_is_taken_even_below_the_latest():
    assert rules.next_version((V("2.0.0"), signature()), signature(), V("1.0.1"), None) == V(
        "1.0.1"
    )


def test_version_and_bump_exclude_each_other():
    with pytest.raises(InvalidError) as caught:
        rules.next_version(None, signature(), V("1.0.0"), Bump.MINOR)
    assert caught.value.field == "version"


@pytest.mark.parametrize("tag", ["", "x" * 256, "a\nb", "\ud800", "\0"])
def test_words_that_cannot_be_stored_are_refused(tag):
    with pytest.raises(InvalidError) as caught:
        rules.check_tags(["fine", tag])
    assert caught.value.field == "tags"
    with pytest.raises(InvalidError) as caught:
        rules.check_labels({tag: "x"})
    assert caught.value.field == "labels"
    if tag:
        with pytest.raises(InvalidError) as caught:
            rules.check_labels({"team": tag})
        assert caught.value.field == "labels.team"


def test_tags_are_kept_in_order_and_once():
    assert rules.check_tags(["b", "a", "b", "größe"]) == ("b", "a", "größe")
    assert rules.check_labels({"environment": ""}) == {"environment": ""}


def test_too_many_words_are_refused():
    with pytest.raises(InvalidError, match="65 tags; at most 64"):
        rules.check_tags(str(i) for i in range(65))
    with pytest.raises(InvalidError, match="65 labels"):
        rules.check_labels({str(i): "x" for i in range(65)})


def test_deletion_is_refused_by_aliases_and_children():
    aliases = {"champion": V("1.0.0"), "old": V("2.0.0")}
    rules.guard_deletion([V("3.0.0")], aliases, {}, "fraud")
    with pytest.raises(
        ConflictError, match=r"fraud@champion.*fraud:1\.0\.0.*alias set fraud@champion"
    ):
        rules.guard_deletion([V("1.0.0")], aliases, {}, "fraud")
    with pytest.raises(ConflictError, match=r"copy:1\.0\.0 names fraud:3\.0\.0 as its parent"):
        rules.guard_deletion([V("3.0.0")], aliases, {"copy:1.0.0": "fraud:3.0.0"}, "fraud")


def test_lineage_of_odd_machines_is_made_storable():
    kept = rules.check_lineage(Lineage(source_name="a\udcff" * 300, actor="\ud800"))
    assert kept.source_name == ("a?" * 300)[:255]
    assert kept.actor == "?"
    for field in ("run", "data_digest"):
        with pytest.raises(InvalidError) as caught:
            rules.check_lineage(Lineage(**{field: "x\n"}))
        assert caught.value.field == field


def test_numbers_that_json_lacks_become_words():
    value = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": {"c": True, "d": None}}
    assert rules.finite(value) == {"a": [1.5, "nan", ["inf", "-inf"]], "b": {"c": True, "d": None}}


def version(number, **more):
    values = {
        "tenant": "default",
        "name": "fraud",
        "version": V(number),
        "artifact": Artifact("sha256:" + "a" * 64, "onnx", 10, (("model.onnx", "sha256:x"),)),
        "signature": signature(),
        "lineage": Lineage(git_commit="abc"),
        "evidence": (),
        "created_ns": 1,
    }
    return ModelVersion(**{**values, **more})


def differences(left, right):
    return {d.field: (d.left, d.right) for d in rules.compare(left, right).differences}


def test_equal_versions_do_not_differ():
    found = rules.compare(version("1.0.0"), version("1.1.0", created_ns=2))
    assert found.differences == ()
    assert found.compatible
    assert (found.left, found.right) == ("fraud:1.0.0", "fraud:1.1.0")


def test_comparison_goes_field_by_field():
    def parity(verdict, difference):
        return (Evidence("parity", verdict, "s", {"max_abs": difference, "rows": 100}),)

    left = version("1.0.0", evidence=parity(Verdict.PASSED, 1e-6), labels={"team": "risk"})
    right = version(
        "2.0.0",
        signature=signature(4),
        evidence=parity(Verdict.ACCEPTED, 0.2),
        lineage=Lineage(git_commit="def", parent="fraud:1.0.0"),
        labels={"team": "risk", "environment": "lab"},
        tags=("big",),
    )
    assert differences(left, right) == {
        "signature.inputs[0].shape": ([None, 3], [None, 4]),
        "evidence.parity.verdict": ("passed", "accepted"),
        "evidence.parity.detail.max_abs": (1e-6, 0.2),
        "lineage.git_commit": ("abc", "def"),
        "lineage.parent": ("", "fraud:1.0.0"),
        "labels.environment": (None, "lab"),
        "tags": ([], ["big"]),
    }
    assert not rules.compare(left, right).compatible


def test_a_comparison_is_bounded():
    many = tuple(Evidence("scan", Verdict.PASSED, "", {f"k{i}": i}) for i in range(2000))
    right = version(
        "1.1.0",
        evidence=(Evidence("x", Verdict.PASSED, "", {str(i): i for i in range(2000)}), *many),
    )
    assert len(rules.compare(version("1.0.0"), right).differences) == rules.MAX_DIFFERENCES
