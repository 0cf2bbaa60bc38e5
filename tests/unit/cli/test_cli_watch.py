"""`watch` and `diagnose`, typed."""

import json
import time

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.series import Series
from modelworks.testing.candidates import candidate


@pytest.fixture
def seen(home, tmp_path):
    """Five hours of a model whose computation takes longer in the last."""
    with Factory(home) as factory:
        factory.publish(candidate(tmp_path / "work", b"x", "fraud"))
        end = int(time.time()) // 60 * 60
        times = [float(end - 60 * i) for i in range(300)][::-1]
        late = [at > end - 3600 for at in times]
        told = {
            "requests": [100.0] * 300,
            "latency_p99_ms": [40.0 if slow else 5.0 for slow in late],
            "compute_p99_ms": [37.0 if slow else 3.0 for slow in late],
        }
        labels = {"model": "fraud", "version": "1.0.0"}
        factory.watching.series.append(
            [Series(name, labels, times, values) for name, values in told.items()]
        )


def test_watch_shows_and_says_it_as_json(seen, type_):
    text = type_("watch", "fraud").out
    assert "fraud:1.0.0" in text
    assert "40 ms" in text
    (line,) = json.loads(type_("watch", "--json", "--since", "30m").out)["lines"]
    assert line["requests"] == pytest.approx(3000, abs=200)


def test_watch_writes_a_page_with_plots(seen, type_, tmp_path):
    page = tmp_path / "page.html"
    assert type_("watch", "fraud", "--html", str(page)).code == Exit.OK
    text = page.read_text()
    assert "Latency, 99th percentile" in text
    assert text.count("<svg") == 2


def test_watch_of_nothing_says_who_looks(type_):
    done = type_("watch")
    assert done.code == Exit.OK
    assert "modelworks up" in done.err


def test_diagnose_names_what_changed(seen, type_):
    done = type_("diagnose", "fraud", "--since", "1h")
    assert done.code == Exit.OK
    assert done.out.startswith("1. compute")
    assert "3 before, 37 now" in done.out
    found = json.loads(type_("diagnose", "fraud", "--json").out)
    assert found["findings"][0]["cause"] == "compute"


def test_diagnose_of_what_is_not_there(type_):
    done = type_("diagnose", "nobody")
    assert done.code == Exit.NOT_FOUND
    assert "neither a deployment nor a model" in done.err


def test_a_length_that_is_none(type_):
    assert type_("watch", "--since", "soon").code == Exit.INVALID
    assert type_("diagnose", "x", "--since", "soon").code == Exit.INVALID
