"""The figures for humans, and the README's rows: `python benchmarks/table.py --readme`."""

import argparse
import json
import statistics
from pathlib import Path

import bars
from data_plane import ENGINE, OURS_BINARY, OURS_JSON

RESULTS = Path(__file__).resolve().parent / "results"
TITLES = {
    "S": "S: scaler and 100 boosted trees, 30 floats",
    "M": "M: MobileNetV2, 3x224x224 floats",
    "T": "T: MiniLM, 32 tokens",
}


def table(document):
    """Everything that was measured, as Markdown."""
    plan = document["plan"]
    lines = [
        f"{document['machine']['text']}; {document['at']}; {document['machine']['calm']}",
        "S: {small} rounds of {small_s} s; M, T: {large} of {large_s:g} s; medians".format(**plan),
        "",
        "| model | connections | side | answers/s | p50 ms | p99 ms | CPU us | of base |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for key in TITLES:
        for connections, series in document.get(key, {}).get("connections", {}).items():
            lines += [_row(key, connections, name, series) for name in series["rounds"]]
    lines += ["", *(f"{TITLES[key]}: {_facts(document[key])}" for key in TITLES if key in document)]
    return "\n".join(lines)


def _row(key, connections, name, series):
    results = series["rounds"][name]
    middle = {
        what: statistics.median(one[what] for one in results)
        for what in results[0]
        if what not in {"limited", "failed"}
    }
    if name == series["base"]:
        share = "1"
    elif name == "again":
        share = "noise " + _interval(series["noise"].get("rate"))
    else:
        share = _interval(series["ratios"][name].get("rate"))
    rest = (
        f"{middle['p50_us'] / 1000:.2f} | {middle['p99_us'] / 1000:.2f} | {middle['cpu_us']:.1f}"
        if middle["p50_us"]
        else f" | | {middle['cpu_us']:.1f}"
    )
    limits = sorted({one["limited"] for one in results} - {""})
    limited = f"; {limits[0]}" if limits else ""
    return f"| {key} | {connections} | {name} | {middle['rate']:,.0f} | {rest} | {share}{limited} |"


def _interval(found):
    if found is None:
        return "nothing was answered"
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _facts(section):
    words = [f"{section['resident_mb']:.0f} MB resident after the load"]
    if "ready_s" in section:
        words.append(f"ready in {section['ready_s']:.2f} s")
    if "engine" in section:
        engine = section["engine"]
        curve = ", ".join(f"{size}: {rate:g}" for size, rate in engine["rows_s"].items())
        words.append(f"onnxruntime's rows a second by batch size {curve}")
    return "; ".join(words)


def judged(document):
    """The bars, as Markdown."""
    lines = ["| what | found | bar | verdict |", "|---|---|---|---|"]
    for one in bars.verdicts(document):
        between = f" ({one.low:.2f} to {one.high:.2f})" if one.low < one.high else ""
        limit = "at least" if one.at_least else "at most"
        lines.append(
            f"| {one.words} | {one.found:.2f}{between} | {limit} {one.bar:g} | {one.verdict} |"
        )
    return "\n".join(lines)


def readme(document):
    """Rows for the README: ratios only."""
    wanted = (
        ("S", "8", "modelworks", "rate", "S, JSON, 8 connections: rate beside the sketch's"),
        ("S", "64", "modelworks", "rate", "S, JSON, 64 connections: rate beside the sketch's"),
        (
            "S",
            "1",
            "modelworks",
            "p50_us",
            "S, JSON, one connection: median latency beside the sketch's",
        ),
        (
            "S",
            "64, binary beside JSON",
            OURS_BINARY,
            "rate",
            "S, 64 connections: binary's rate beside JSON's",
        ),
        ("M", "8", OURS_BINARY, "rate", f"MobileNetV2, 8 connections: rate beside {ENGINE}'s own"),
        (
            "M",
            "64",
            OURS_BINARY,
            "rate",
            f"MobileNetV2, 64 connections: rate beside {ENGINE}'s own",
        ),
        (
            "M",
            "1, JSON beside binary",
            OURS_JSON,
            "p50_us",
            "MobileNetV2, JSON: median latency beside binary's",
        ),
        ("T", "8", OURS_BINARY, "rate", f"MiniLM, 8 connections: rate beside {ENGINE}'s own"),
        ("T", "64", OURS_BINARY, "rate", f"MiniLM, 64 connections: rate beside {ENGINE}'s own"),
    )
    lines = ["| | ratio | 95 % interval |", "|---|---:|---|"]
    for section, series, side, figure, words in wanted:
        found = document.get(section, {}).get("connections", {}).get(series)
        if found is not None and side in found["ratios"]:
            one = found["ratios"][side][figure]
            lines.append(
                f"| {words} | {one['ratio']:.2f} | {one['low']:.2f} to {one['high']:.2f} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--readme", action="store_true", help="the README's rows alone")
    arguments = parser.parse_args()
    document = json.loads((RESULTS / "data_plane.json").read_text())
    print(readme(document) if arguments.readme else f"{table(document)}\n\n{judged(document)}")


if __name__ == "__main__":
    main()
