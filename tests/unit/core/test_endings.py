"""Stop strings in a text that comes in pieces."""

import random

import pytest

from modelworks.core.endings import Ending

pytestmark = pytest.mark.unit


def cut(text, stops):
    """What a whole text is, up to its first stop string."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def test_a_stop_string_in_two_pieces():
    ending = Ending(["</s>", "END"])
    assert ending.feed("one <") == "one "
    assert ending.feed("/") == ""
    assert ending.feed("b> E") == "</b> "
    assert ending.feed("ND more") == ""
    assert ending.over
    assert ending.rest() == ""


def test_what_was_kept_back_comes_at_the_end():
    ending = Ending(["abc"])
    assert ending.feed("xab") == "x"
    assert ending.rest() == "ab"
    assert not ending.over


def test_without_stop_strings_nothing_is_kept_back():
    ending = Ending(())
    assert ending.feed("any") == "any"
    assert ending.rest() == ""


def test_however_it_is_cut_the_text_is_the_same():
    chance = random.Random(3)
    for _ in range(2000):
        text = "".join(chance.choice("ab") for _ in range(chance.randrange(20)))
        stops = ["".join(chance.choice("ab") for _ in range(chance.randrange(1, 5)))]
        ending, said, at = Ending(stops), "", 0
        while at < len(text) and not ending.over:
            size = chance.randrange(1, 4)
            said += ending.feed(text[at : at + size])
            at += size
        said += ending.rest()
        assert said == cut(text, stops)
        assert ending.over == (stops[0] in text)
