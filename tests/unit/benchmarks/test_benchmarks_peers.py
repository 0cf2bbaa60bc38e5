"""The pure parts of the comparison with other servers: wires, ratios, tables, plot, parts saved."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from peers_modules import ROOT, peers_module

pytestmark = pytest.mark.unit

models, plot, ratios, report, saved, wires = (
    peers_module(name) for name in ("models", "plot", "ratios", "report", "saved", "wires")
)


def points(rates, errors=0):
    return {
        "requests_s": rates,
        "p50_us": [int(8e6 / rate) if rate else 0 for rate in rates],
        "p99_us": [int(16e6 / rate) if rate else 0 for rate in rates],
        "cpu_us": [1e6 / rate if rate else 0.0 for rate in rates],
        "errors": errors,
        "seconds": 1,
    }


def server(rates, wire="json", **more):
    facts = {
        "ready_s": 1.0,
        "setting": "as it comes",
        "versions": {"thing": "1.0"},
        "rss_mb": 100.0,
        "pss_mb": 90.0,
        "loaded_rss_mb": 110.0,
        "loaded_pss_mb": 95.0,
        "processes": 2,
        "idle_cpu_percent": 0.0,
        "points": {wire: {"8": points(rates)}},
    }
    return facts | more


OURS = [1000.0, 1010.0, 990.0, 1005.0, 995.0, 1000.0]
AGAIN = [1002.0, 1000.0, 1001.0, 999.0, 1003.0, 998.0]


def document(**servers):
    section = {
        "at": "2026-01-01T00:00:00Z",
        "connections": [8],
        "rounds": 6,
        "seconds": 1,
        "command": "benchmarks/peers/run.py --save",
        "machine": {
            "cores": 2,
            "processor": "a <processor>",
            "memory_gb": 24,
            "kernel": "6.1",
            "python": "3.11.7",
        },
        "load_before": 0.1,
        "load_after": 1.2,
        "servers": {"modelworks": server(OURS), "modelworks again": server(AGAIN), **servers},
        "failed": {"Sad": "pip: no matching distribution"},
    }
    return {"models": {"S": section}}


def said(found, peer):
    section = found["models"]["S"]
    noise = ratios.ratio(section, ratios.AGAIN, "json", 8)
    return ratios.verdict(ratios.ratio(section, peer, "json", 8), noise)


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [
        ([500.0, 505.0, 495.0, 500.0, 502.0, 498.0], ratios.FASTER),
        ([2000.0, 2020.0, 1980.0, 2010.0, 1990.0, 2000.0], ratios.SLOWER),
        ([1001.0, 1009.0, 991.0, 1004.0, 996.0, 1000.0], ratios.NONE),
        ([400.0, 3000.0, 500.0, 2500.0, 900.0, 1100.0], ratios.NONE),  # holds 1
        ([500.0, 505.0], ratios.NONE),  # too few rounds
        ([0.0] * 6, ratios.NONE),  # it answered nothing
    ],
)
def test_a_verdict_needs_rounds_an_interval_off_one_and_more_than_the_noise(rates, wanted):
    assert said(document(other=server(rates)), "other") == wanted


def test_a_noisy_pair_of_ours_takes_the_verdict_away():
    found = document(other=server([900.0, 909.0, 891.0, 904.0, 896.0, 900.0]))
    assert said(found, "other") == ratios.FASTER
    wild = [700.0, 1300.0, 720.0, 1280.0, 690.0, 1310.0]
    found["models"]["S"]["servers"]["modelworks again"] = server(wild)
    assert said(found, "other") == ratios.NONE


def test_no_ratio_across_wires():
    found = document(other=server(AGAIN, wire="binary"))["models"]["S"]
    assert ratios.ratio(found, "other", "binary", 8) is None
    assert "| other | binary | - | - |" in report.compared(found)


def test_tables_name_every_server_its_failures_and_the_machine():
    found = report.markdown(document(other=server([500.0] * 6, megabytes=10.0, packages=3)))
    assert "2 cores (a <processor>), 24 GB, Linux 6.1, Python 3.11.7" in found
    assert "2026-01-01T00:00:00Z `benchmarks/peers/run.py --save`: 6 interleaved rounds" in found
    assert "| other | json | 500 ± 0 %, 16.0 / 32.0 | 2,000 | 0 |" in found
    assert "| other | S | 10 / 3 |" in found
    assert "| other | thing 1.0 | as it comes |" in found
    assert "- Sad (S): pip: no matching distribution" in found
    rates = report.rates(document(other=server([500.0] * 6))["models"]["S"])
    assert rates.index("| modelworks again |") < rates.index("| other |")  # the faster first
    for table in found.split("\n\n"):
        assert len({row.count("|") for row in table.splitlines() if row[0] == "|"}) <= 1, table


def test_a_glance_has_a_line_a_server_bold_with_a_verdict_in_brackets_without():
    calm = document(other=server([500.0] * 6), even=server(AGAIN), silent=server([0.0] * 6))
    calm["models"]["T"] = document(late=server([250.0] * 6))["models"]["S"]
    found = report.glance(calm)
    assert "| server | S, 8 conn. | T, 8 conn. | memory MB | ready s |" in found
    assert "| modelworks | 1 | 1 | 90 | 1.0 |" in found
    assert "| other | **2.00 x** |  | 90 | 1.0 |" in found
    assert "| even | (1.00 x) |  | 90 | 1.0 |" in found
    assert "| silent | - |  |" in found
    assert "| late |  | **4.00 x** |" in found
    assert "| Sad | did not run | did not run | - | - |" in found
    assert "modelworks again" not in found


def test_a_glance_takes_each_servers_fastest_form_and_base64_beside_our_binary():
    found = document(other=server([250.0] * 6))
    servers = found["models"]["S"]["servers"]
    for name, rates in (("modelworks", OURS), ("modelworks again", AGAIN)):
        servers[name]["points"]["binary"] = {"8": points([2 * rate for rate in rates])}
    servers["other"]["points"]["base64"] = {"8": points([500.0] * 6)}
    assert "| other | **4.00 x** |" in report.glance(found)  # 2000 to 500, not 1000 to 250
    rows = report.compared(found["models"]["S"])
    assert re.search(r"\| other \| base64 \| 4\.00 x \[.*\] ours faster \|", rows)


def test_the_noise_is_told_and_that_few_rounds_give_no_verdict():
    found = document()["models"]["S"]
    assert re.search(r"Noise, .*: 1% \(json, 8\)", report.noises(found))
    assert "Too few" not in report.noises(found)
    assert "Too few rounds for any verdict." in report.noises({**found, "rounds": 2})
    del found["servers"]["modelworks again"]
    assert report.noises(found).startswith("No noise is known")


def test_one_round_has_no_interval():
    found = document(other=server([500.0]))["models"]["S"]
    assert "| other | json | 2.00 x no verdict | 2.00 x |" in report.compared(found)
    assert report.compared({**found, "servers": {"modelworks": server(OURS)}}) == ""


def test_one_reason_is_one_line():
    found = document()
    found["models"]["S"]["failed"] = {"A": "no java", "B": "no java", "C": "ended"}
    found["models"]["T"] = {**found["models"]["S"], "failed": {"A": "no java"}}
    assert report.missing(found) == "- A (S, T), B (S): no java\n- C (S): ended"
    assert report.markdown({"models": {}}) == "Nothing was measured."


def test_parts_are_merged_model_by_model_and_keep_their_dates(tmp_path):
    first, later = (document()["models"]["S"] for _ in range(2))
    later["at"] = "2026-02-02T00:00:00Z"
    saved.keep(tmp_path / "new", "T", first)
    saved.keep(tmp_path / "new", "S", first)
    folder = tmp_path / "new"
    assert list(saved.load(folder)["models"]) == ["S", "T"]
    saved.keep(folder, "S", later)
    dates = {key: each["at"] for key, each in saved.load(folder)["models"].items()}
    assert dates == {"S": later["at"], "T": first["at"]}
    tables = (folder / "peers.md").read_text()
    assert f"### T: {models.TITLES['T']}\n\n{first['at']}" in tables
    assert f"### S: {models.TITLES['S']}\n\n{later['at']}" in tables
    assert sorted(each.name for each in folder.iterdir()) == ["peers.json", "peers.md", "peers.svg"]


def test_a_section_that_cannot_be_written_leaves_the_saved_one(tmp_path):
    saved.keep(tmp_path, "S", document()["models"]["S"])
    before = (tmp_path / "peers.json").read_text()
    with pytest.raises(TypeError):
        saved.keep(tmp_path, "M", {"servers": object()})
    assert (tmp_path / "peers.json").read_text() == before


def test_a_narrower_run_does_not_replace_a_section(tmp_path):
    saved.keep(tmp_path, "S", document(other=server(AGAIN))["models"]["S"])
    kept = saved.load(tmp_path)
    ours = ["modelworks", "modelworks again"]
    assert saved.dropped(kept, "S", ours) == ["Sad", "other"]
    assert saved.dropped(kept, "S", [*ours, "Sad", "other", "new"]) == []
    assert saved.dropped(kept, "M", ours) == []


def test_a_run_of_all_servers_may_replace_one_that_had_others(tmp_path):
    run = peers_module("run")
    saved.keep(tmp_path, "S", document(renamed=server(AGAIN))["models"]["S"])
    run.refuse_losses(SimpleNamespace(into=tmp_path, models=["S"], only=""))
    with pytest.raises(SystemExit, match=r"renamed.*leave --only out"):
        run.refuse_losses(SimpleNamespace(into=tmp_path, models=["S"], only="mosec"))


def test_a_part_that_fails_does_not_lose_the_others(tmp_path, monkeypatch, capsys):
    run = peers_module("run")
    section = document()["models"]["S"]
    ours_failed = {**section, "servers": {}, "failed": {"modelworks": "no port"}}

    def measured(model, _peers, _plan):
        if model == "M":
            raise OSError("no space left")
        return dict(ours_failed if model == "T" else section)

    monkeypatch.setattr(run.models, "make", lambda key, _cache: key)
    monkeypatch.setattr(run.rounds, "run", measured)
    old = {**section, "at": "before"}
    saved.keep(tmp_path, "T", old)
    command = ["run.py", "--models", "M,T,S", "--save", "--into", str(tmp_path), "--only", "mosec"]
    monkeypatch.setattr("sys.argv", command)
    assert run.measure(run.parsed()) == 1
    told = capsys.readouterr().err
    assert "M failed, what is saved of it stays: OSError('no space left')" in told
    assert "our own server: no port" in told
    assert "once more: run.py --models M,T" in told
    kept = saved.load(tmp_path)["models"]
    assert list(kept) == ["S", "T"]
    assert kept["T"] == old
    assert kept["S"]["servers"] == section["servers"]
    assert kept["S"]["command"].endswith(
        "--models M,T,S --save --into " + str(tmp_path) + " --only mosec"
    )


def test_a_server_that_answered_nothing_is_said_to():
    assert "| none |" in report.rates(document(other=server([0.0] * 6))["models"]["S"])


def test_the_page_is_filled_between_its_marks_again_and_again():
    page = f"# Title\n\n{report.BEGIN}\nstale\n{report.END}\n\nlast"
    once = report.filled(page, document())
    assert once.startswith("# Title")
    assert once.endswith("last")
    assert "stale" not in once
    assert report.filled(once, document()) == once
    with pytest.raises(ValueError, match="lacks"):
        report.filled("# Title", document())


def test_the_published_page_and_plot_are_those_of_the_saved_run():
    saved = json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())
    page = (ROOT / "docs" / "peers.md").read_text()
    hint = "make them anew: python benchmarks/peers/run.py --publish"
    assert report.filled(page, saved) == page, hint
    assert plot.svg(saved) == (ROOT / "benchmarks" / "results" / "peers.svg").read_text(), hint


def test_the_plot_is_xml_with_a_dot_a_point_and_survives_silence():
    silent = document(**{"a <b>": server([0.0] * 6), "other": server([10.0] * 6)})
    root = ET.fromstring(plot.svg(silent))
    name = "{http://www.w3.org/2000/svg}"
    dots = root.findall(f"{name}circle")
    assert len(dots) == 1 + 2 * 3  # the legend; three servers that answered, in two panels
    assert any("a <b>" in (each.text or "") for each in root.findall(f"{name}text"))
    assert ET.fromstring(plot.svg({"models": {}})) is not None


def model_of(rows, answers):
    return models.Model("S", Path("m.onnx"), rows, answers)


ROW = {"ids": np.array([[1, 2]], np.int64), "x": np.array([[0.1, 3.0]], np.float32)}
ANSWER = {"label": np.array([7], np.int64), "p": np.array([[0.25, 0.75]], np.float32)}


def test_numbers_are_short_and_exact():
    sent = wires.numbers(np.array([0.1, 1 / 3], np.float32))
    assert sent[0] == 0.1
    assert np.array_equal(np.array(sent, np.float32), np.array([0.1, 1 / 3], np.float32))


def test_binary_tensors_there_and_back():
    wire = wires.oip_binary("/p", model_of([ROW], [ANSWER]))
    headers, body = wire.encode(ROW)
    length = int(headers[wires.HEADER_LENGTH])
    asked = json.loads(body[:length])
    assert [each["parameters"]["binary_data_size"] for each in asked["inputs"]] == [16, 8]
    assert len(body) == length + 24
    outputs = [
        {
            "name": name,
            "datatype": wires.OIP_TYPES[value.dtype.name],
            "shape": value.shape,
            "parameters": {"binary_data_size": value.nbytes},
        }
        for name, value in ANSWER.items()
    ]
    head = json.dumps({"outputs": outputs}).encode()
    found = wire.decode(
        {wires.HEADER_LENGTH.lower(): str(len(head))},
        head + b"".join(value.tobytes() for value in ANSWER.values()),
    )
    for name, value in ANSWER.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_null_of_parameters_is_no_binary_tensor():
    body = {"outputs": [{"name": "p", "datatype": "FP32", "shape": [1], "data": [2.0]}]}
    body["outputs"][0]["parameters"] = None
    assert wires.oip_answer(None, {}, json.dumps(body).encode())["p"] == [2.0]


def test_bytes_there_and_back():
    wire = wires.raw("/p", model_of([ROW], [ANSWER]))
    assert wire.encode(ROW)[1] == ROW["ids"].tobytes() + ROW["x"].tobytes()
    found = wire.decode({}, b"".join(value.tobytes() for value in ANSWER.values()))
    assert found["label"] == [7]
    assert found["p"].shape == (1, 2)


@pytest.mark.parametrize("rows", [False, True])
def test_base64_there_and_back(rows):
    wire = wires.base64_json("/p", model_of([ROW], [ANSWER]), key="rows", rows=rows)
    body = json.loads(wire.encode(ROW)[1])["rows"]
    [sent] = body if rows else [body]
    assert base64.b64decode(sent) == ROW["ids"].tobytes() + ROW["x"].tobytes()
    told = base64.b64encode(b"".join(value.tobytes() for value in ANSWER.values())).decode()
    found = wire.decode({}, json.dumps([told] if rows else {"rows": told}).encode())
    np.testing.assert_array_equal(found["p"], ANSWER["p"])
