"""The simulated decision on forms in a small form: it keeps its word, and the table tells."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.sims import choice, forms  # noqa: E402

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def document():
    chosen = [
        forms.accuracy(300, 0.02, 0.01),
        forms.slices(2, 150, 0.06, 1),
        forms.errors(300, 0.05, "mae", 0.2),
        forms.area(400, 0.03),
        forms.surprise(400, 1.5),
    ]
    return forms.simulated(80, 1, chosen=chosen)


def test_a_drop_at_the_limit_is_accepted_in_no_more_cases_than_declared(document):
    assert [row["setting"] for row in document["settings"] if not row["kept"]] == []


def test_forms_that_lost_nothing_are_accepted_more_often(document):
    for row in document["settings"]:
        assert row["none"] >= row["half"] - 0.15
        assert row["none"] > row["at_limit"] + 0.3


def test_a_test_that_looks_at_the_difference_alone_would_break_its_word(monkeypatch):
    """The simulation can fail: half of the forms at the limit look better than they are."""
    monkeypatch.setattr(
        "modelworks.stats.paired.p_value", lambda b, c, n, drop, _: (b - c) / n > drop
    )
    found = forms.simulated(100, 1, chosen=[forms.accuracy(300, 0.02, 0.01)])
    assert not found["settings"][0]["kept"]


@pytest.fixture(scope="module")
def many():
    """The whole decision: as many forms as a search has, all exactly at the limit."""
    chosen = [choice.World(6, alike, 200, 700) for alike in (0.0, 1.0)]
    return choice.simulated(80, 2, chosen, sizes=((200, 700),))


def test_of_many_forms_at_the_limit_any_is_kept_in_no_more_cases_than_declared(many):
    assert [row["forms"] for row in many["worlds"] if not row["kept"]] == []
    independent = many["worlds"][0]
    assert independent["alone"] > 0.1  # the simulation can fail: held at 95 % each they would


def test_that_costs_less_than_the_number_of_forms_would(many):
    (mine, _), (alone, _), (bonferroni, _) = many["power"][0]["rules"]
    assert alone >= mine > bonferroni + 0.2


def test_what_is_saved_is_in_the_page(document, many, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "RESULTS", tmp_path / "forms.json")
    monkeypatch.setattr(forms, "PAGE", tmp_path / "page.md")
    forms.PAGE.write_text(f"before\n{forms.BEGIN}\nold\n{forms.END}\nafter\n")
    forms.save(document)
    text = forms.PAGE.read_text()
    assert "old" not in text
    assert document["settings"][0]["setting"] in text
    whole = forms.table(document | {"choice": many})
    assert "6, the same answers" in whole
    assert "200 + 700" in whole
    broken = [document["settings"][0] | {"kept": False}]
    assert "**exceeded**" in forms.table({"settings": broken})
