"""Families of numbers in both texts; the parsers are Prometheus' own."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families as plain

from modelworks.protocol.openmetrics import (
    Exemplar,
    Family,
    Kind,
    bound,
    labels,
    wants_openmetrics,
    write_openmetrics,
    write_text,
)

pytestmark = pytest.mark.unit
PROMETHEUS = (  # 2.42
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def some():
    info = Family("a_build", Kind.INFO, "What runs.")
    info.add(1, {"version": "1"})
    counter = Family("a_loads", Kind.COUNTER, 'Back\\slash, "quotes"\nand a line.')
    counter.add(3, {"model": 'm"\\\n'})
    gauge = Family("a_size_bytes", Kind.GAUGE, "Size.")
    gauge.add(math.nan)
    histogram = Family("a_time_seconds", Kind.HISTOGRAM, "Time.")
    seen = {"0.1": Exemplar({"trace_id": TRACE}, 0.05, 12.5)}
    histogram.spread({"model": "m"}, [("0.1", 1), ("1.0", 2)], 3, 7.5, seen)
    summary = Family("a_wait", Kind.SUMMARY, "Waits.")
    summary.summed({}, 2, 0.5)
    return [info, counter, gauge, histogram, summary]


def test_openmetrics_is_read_by_the_strict_parser():
    text = write_openmetrics(some(), 5.0).decode()
    assert text.endswith("# EOF\n")
    found = {family.name: family for family in strict(text)}
    assert list(found) == ["a_build", "a_loads", "a_size_bytes", "a_time_seconds", "a_wait"]
    assert found["a_loads"].documentation == 'Back\\slash, "quotes"\nand a line.'
    total, created = found["a_loads"].samples
    assert (total.name, total.value, total.labels) == ("a_loads_total", 3, {"model": 'm"\\\n'})
    assert (created.name, created.value) == ("a_loads_created", 5)
    assert (found["a_size_bytes"].unit, found["a_time_seconds"].unit) == ("bytes", "seconds")
    exemplar = found["a_time_seconds"].samples[0].exemplar
    assert (exemplar.labels, exemplar.value) == ({"trace_id": TRACE}, 0.05)
    assert float(exemplar.timestamp) == 12.5
    assert all(sample.exemplar is None for sample in found["a_time_seconds"].samples[1:])


def test_plain_text_has_no_exemplars_and_the_names_that_prometheus_shows():
    text = write_text(some()).decode()
    assert TRACE not in text
    assert "_created" not in text
    assert "# TYPE a_loads_total counter" in text
    assert "# TYPE a_build_info gauge" in text
    values = {s.name: s.value for family in plain(text) for s in family.samples}
    assert values["a_time_seconds_count"] == 3
    assert math.isnan(values["a_size_bytes"])


def test_a_name_that_others_fixed_stays():
    family = Family("nv_inference_count", Kind.COUNTER, "Rows.", bare=True)
    family.add(2, {"model": "m"})
    assert write_text([family]).decode().splitlines()[1:] == [
        "# TYPE nv_inference_count counter",
        'nv_inference_count{model="m"} 2',
    ]


@given(st.dictionaries(st.sampled_from(["model", "version"]), st.text(max_size=9)), st.floats())
@settings(max_examples=60)
def test_whatever_a_label_says_is_read_back(pairs, value):
    pairs = {name: text.replace("\r", "") for name, text in pairs.items()}
    family = Family("a", Kind.GAUGE, "A.")
    family.add(value, pairs)
    [read] = strict(write_openmetrics([family], 0.0).decode("utf-8", "surrogatepass"))
    [sample] = read.samples
    assert sample.labels == pairs
    assert sample.value == value or math.isnan(value)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=x", False),
        (PROMETHEUS, True),
    ],
)
def test_openmetrics_is_given_to_who_prefers_it(accept, wanted):
    assert wants_openmetrics(accept) is wanted


def test_bounds_are_written_alike_in_both_texts():
    assert [bound(x) for x in (1.6384e-05, 0.25, 1, 17.179869184, 512)] == [
        *("1.64e-05", "0.25", "1.0", "17.2", "512.0")
    ]
    assert labels({}) == ""
