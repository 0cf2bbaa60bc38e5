"""References that name a form of a version, and the words that ask for one."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.variants import Objective
from modelworks.core.optimizing.wanted import GOALS, RESERVED, check_name, check_wanted
from modelworks.core.reference import ModelRef, parse_ref
from modelworks.core.semver import Semver

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fraud#int8", ModelRef("fraud", variant="int8")),
        ("fraud@champion#Int8.v2", ModelRef("fraud", alias="champion", variant="Int8.v2")),
        ("fraud:1.2.0#int8-openvino", ModelRef("fraud", None, Semver(1, 2, 0), "int8-openvino")),
        ("fraud:1.2.0", ModelRef("fraud", None, Semver(1, 2, 0))),
    ],
)
def test_a_reference_may_name_a_variant(text, found):
    assert parse_ref(text, variants=True) == found
    assert str(found) == text
    assert str(found.of_version) == text.partition("#")[0]


@pytest.mark.parametrize("text", ["fraud#", "fraud##a", "fraud#a b", "fraud#-a", "#a", "fraud#a#b"])
def test_what_names_none_is_refused(text):
    with pytest.raises(InvalidError):
        parse_ref(text, variants=True)


def test_where_a_version_is_meant_a_variant_is_refused_with_the_reason():
    with pytest.raises(InvalidError, match="names a variant, and a version is meant") as caught:
        parse_ref("fraud:1.2.0#int8")
    assert caught.value.field == "ref"


def test_every_objective_has_a_word_that_asks_for_it():
    assert set(GOALS.values()) == set(Objective)


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_a_word_that_asks_is_no_name(word):
    with pytest.raises(InvalidError, match="that word asks"):
        check_name(word)


@pytest.mark.parametrize("word", ["source", "fastest", "smallest", "int8"])
def test_what_can_be_asked_for(word):
    assert check_wanted(word) == word


@pytest.mark.parametrize("word", ["", "p99", "a b", "a" * 65])
def test_what_cannot(word):
    with pytest.raises(InvalidError):
        check_wanted(word)
