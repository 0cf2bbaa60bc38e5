"""The simulations in a small form: every method keeps its word, and the report tells."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.sims import outcome, report, run  # noqa: E402

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def document():
    return run.simulated(100, 1, set())


def test_every_method_keeps_the_rate_that_it_declares(document):
    found = {m["method"]: m for m in document["methods"]}
    assert {"rates", "rates, aimed", "means, bounded", "quantiles", "ratios"} <= set(found)
    assert {"split", "betting", "CUPED, large samples", "Holm on sequences"} <= set(found)
    assert all(m["kept"] for m in document["methods"] if not m["naive"])


def test_a_test_that_everybody_peeks_at_does_not(document):
    naive = [m for m in document["methods"] if m["naive"]]
    assert naive
    assert not any(m["kept"] for m in naive)
    assert all(m["false"] > 0.15 for m in naive)


def test_the_report_names_every_method_and_its_picture_is_one(document):
    text = report.table(document)
    assert all(m["method"] in text for m in document["methods"])
    assert "thompson" in text
    broken = [m | {"kept": False, "naive": False} for m in document["methods"][:1]]
    assert "**exceeded**" in report.table({"methods": broken, "bandits": {}})
    picture = ET.fromstring(report.svg(document))
    dots = picture.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) > len(document["methods"])


def test_what_is_saved_is_in_the_page_and_a_broken_word_fails(document, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.md")
    run.PAGE.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    run.save(document)
    text = run.PAGE.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert document["methods"][0]["setting"] in text
    assert {p.name for p in run.RESULTS.iterdir()} == {"statistics.json", "statistics.svg"}
    run.save(run.simulated(100, 1, {"split"}), part=True)
    parts = json.loads((run.RESULTS / "statistics.json").read_text())
    assert len(parts["methods"]) == len(document["methods"])
    with pytest.raises(SystemExit, match="other experiments"):
        run.save(run.simulated(100, 2, {"split"}), part=True)
    broken = document | {"methods": [document["methods"][0] | {"naive": False}]}
    monkeypatch.setattr(run, "simulated", lambda *_: broken)
    monkeypatch.setattr(sys, "argv", ["run.py", "--experiments", "10"])
    assert run.main() == 1


def test_a_lower_bound_is_exceeded_once_in_a_hundred():
    rng = np.random.default_rng(2)
    hits = rng.binomial(1000, 0.05, 4000)
    above = np.mean([outcome.lower(int(k), 1000) > 0.05 for k in hits])
    assert 0.001 < above <= 0.015
