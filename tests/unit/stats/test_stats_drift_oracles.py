"""Our distances and tests are those of frouros and nannyml: tests/makers/drift_values.py."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from modelworks.stats import distances, samples, tables

pytestmark = pytest.mark.unit
FILE = Path(__file__).parents[2] / "data" / "drift" / "oracles.json"
ORACLES = json.loads(FILE.read_text())
NUMBERS = ORACLES["samples"]["numbers"]
CATEGORIES = ORACLES["samples"]["categories"]


def said(library, kind, name):
    return ORACLES[library][kind][name]


def counts(two, edges):
    return [np.histogram(one, edges)[0] for one in two]


@pytest.mark.parametrize("name", NUMBERS)
def test_distances_of_numbers(name):
    reference, current = (np.sort(one) for one in NUMBERS[name])
    found = samples.gap(reference, current)
    for library in ("frouros", "nannyml"):
        told = said(library, "numbers", name)
        assert found.ks == pytest.approx(told["ks"], rel=1e-12)
        assert found.wasserstein == pytest.approx(told["wasserstein"], rel=1e-9)
    chance = samples.ks_p_value(found.ks, len(reference), len(current))
    assert chance == pytest.approx(said("frouros", "numbers", name)["ks_p"], rel=1e-6)


@pytest.mark.parametrize("name", NUMBERS)
def test_psi_of_equal_bins_is_frouros(name):
    edges = np.histogram_bin_edges(np.concatenate(NUMBERS[name]), 4)
    shares = [distances.shares(one) for one in counts(NUMBERS[name], edges)]
    least = sys.float_info.min  # what frouros puts where nothing is
    found = distances.psi(*(np.where(one == 0, least, one) for one in shares))
    assert float(found) == pytest.approx(said("frouros", "numbers", name)["psi_4_bins"], rel=1e-9)


@pytest.mark.parametrize("name", NUMBERS)
def test_jensen_shannon_of_the_references_bins_is_nannymls(name):
    told = said("nannyml", "numbers", name)
    before, now = counts(NUMBERS[name], told["edges"])
    outside = len(NUMBERS[name][1]) - now.sum()
    found = distances.js(distances.shares([*before, 0]), distances.shares([*now, outside]))
    assert float(found) == pytest.approx(told["js_doane"], rel=1e-9)


@pytest.mark.parametrize("name", CATEGORIES)
def test_tests_of_categories(name):
    names = sorted({*CATEGORIES[name][0], *CATEGORIES[name][1]})
    before, now = ([one.count(each) for each in names] for one in CATEGORIES[name])
    found = tables.chi_square(before, now)
    frouros, nannyml = (said(each, "categories", name) for each in ("frouros", "nannyml"))
    assert found.statistic == pytest.approx(frouros["chi_square"], rel=1e-9)
    assert found.statistic == pytest.approx(nannyml["chi_square"], rel=1e-9)
    assert found.p_value == pytest.approx(frouros["p"], rel=1e-9)
    distance = distances.js(distances.shares(before), distances.shares(now))
    assert float(distance) == pytest.approx(nannyml["js"], rel=1e-9)


def test_both_libraries_have_spoken():
    assert (ORACLES["frouros"]["version"], ORACLES["nannyml"]["version"]) == ("0.9.0", "0.13.1")
