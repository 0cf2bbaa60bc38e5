"""`modelworks experiment power`: requests and time before anything is begun."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.stats.designs.sizes import Method, plan, rate_question

pytestmark = pytest.mark.unit
ASKED = ("experiment", "power", "--rate", "0.02", "--margin", "0.005", "--share", "0.1")


def test_every_way_to_decide_says_its_requests_and_its_time(type_):
    found = type_(*ASKED, "--per-second", "50", "--json").json
    assert [one["method"] for one in found] == list(Method)
    expected = plan(rate_question(0.02, 0.0, margin=0.005, share=0.1), Method.FIXED)
    assert found[0]["rows"] == expected.rows
    assert found[2]["seconds"] == pytest.approx(found[2]["rows"] / 50, rel=1e-3)
    text = type_(*ASKED, "--per-second", "50").out
    assert f"{expected.rows:,}" in text
    assert "always-valid" in text
    assert " min" in text


def test_without_traffic_no_time_is_promised(type_):
    assert type_(*ASKED, "--json").json[0]["seconds"] is None
    assert " -" in type_(*ASKED).out


def test_a_number_of_requests_says_what_it_finds(type_):
    rows = type_(*ASKED, "--json").json[1]["rows"]
    found = type_(*ASKED, "--requests", str(rows), "--json").json["power"]
    assert found["group-sequential"] == pytest.approx(0.8, abs=0.01)
    assert found["always-valid"] < found["group-sequential"] < found["fixed"]
    assert "80." in type_(*ASKED, "--requests", str(rows)).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--effect", "1"), "give --rate"),
        (("--rate", "0.1", "--deviation", "2", "--effect", "1"), "give --rate"),
        (("--rate", "0.1"), "give --effect"),
        (("--rate", "1.5", "--effect", "0.1"), "not between 0 and 1"),
        (("--deviation", "3", "--effect", "1", "--share", "1"), "share"),
    ],
)
def test_what_is_no_question_is_refused(type_, words, told):
    found = type_("experiment", "power", *words)
    assert found.code == Exit.INVALID
    assert told in found.err
