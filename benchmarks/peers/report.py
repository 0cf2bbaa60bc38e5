"""The saved document as Markdown tables; `docs/peers.md` holds them between two marks."""

from benchmarks.peers import ratios
from benchmarks.peers.models import TITLES

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def filled(page, document):
    """The page with its tables made anew from the document.

    Raises:
        ValueError: the page lacks the marks.
    """
    if BEGIN not in page or END not in page:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown(document)}\n\n{END}{after}"


def markdown(document):
    """Everything: the machine, each model's tables, what things weigh, what is missing."""
    machine = document["machine"]
    where = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, Linux "
        f"{machine['kernel']}, Python {machine['python']}; the server on one core, wrk on another."
    )
    parts = [where]
    for key, section in document["models"].items():
        parts += [heading(key, section), rates(section), compared(section)]
    parts += ["### Weight", weight(document), "### What did not run", missing(document)]
    return "\n\n".join(part for part in parts if part)


def heading(key, section):
    """What was measured, when, and how loaded the machine was."""
    return (
        f"### {key}: {TITLES[key]}\n\n"
        f"{section['at']}: {section['rounds']} interleaved rounds of {section['seconds']} s, "
        "longer where a request waits longer than a sixth of that; load average "
        f"{section['load_before']:.1f} before, {section['load_after']:.1f} after. Cells: "
        "requests/s ± half the interquartile range, p50 / p99 in ms (medians of the rounds)."
    )


def ranked(section):
    """(server, wire) pairs, the fastest first."""
    most = str(section["connections"][-1])
    pairs = [
        (name, wire)
        for name, facts in section["servers"].items()
        for wire in facts["points"]
        if most in facts["points"][wire]
    ]

    def rate(pair):
        return middle(section, *pair, most, "requests_s")

    return sorted(pairs, key=rate, reverse=True)


def middle(section, server, wire, connections, figure):
    """The median over the rounds."""
    found = ratios.values(section, server, wire, connections, figure)
    return ratios.quartiles(found)[1] if found else 0.0


def rates(section):
    """Requests a second, latencies, processor time and errors of every server and wire."""
    counts = section["connections"]
    heads = " | ".join(f"{count} connections" if count > 1 else "1 connection" for count in counts)
    lines = [
        f"| server | wire | {heads} | CPU µs a request | errors |",
        "|---|---|" + "---:|" * (len(counts) + 2),
    ]
    for name, wire in ranked(section):
        points = section["servers"][name]["points"][wire]
        cells = " | ".join(cell(section, name, wire, count) for count in counts)
        used = middle(section, name, wire, counts[-1], "cpu_us")
        errors = sum(point["errors"] for point in points.values())
        lines.append(f"| {name} | {wire} | {cells} | {used:,.0f} | {errors} |")
    return "\n".join(lines)


def cell(section, server, wire, connections):
    """One point."""
    found = ratios.values(section, server, wire, connections, "requests_s")
    if not found or not any(found):
        return "none"
    p50 = middle(section, server, wire, connections, "p50_us") / 1000
    p99 = middle(section, server, wire, connections, "p99_us") / 1000
    half = ratios.spread(found) / 2
    rate = ratios.quartiles(found)[1]
    return f"{number(rate)} ± {half:.0f} %, {number(p50)} / {number(p99)}"


def number(value):
    """Three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def compared(section):
    """Our rate divided by each peer's on the same wire, and the verdicts."""
    counts = section["connections"]
    heads = " | ".join(f"rate at {count}" for count in counts)
    words = (
        "Ours divided by theirs, same wire, same run: median of the rounds' own ratios [its 95 % "
        "interval]. No verdict: the interval holds 1, or our own server, measured twice (the "
        "noise), was as far from itself."
    )
    lines = [
        words,
        "",
        f"| server | wire | {heads} | CPU a request, theirs to ours |",
        "|---|---|" + "---|" * (len(counts) + 1),
    ]
    pairs = [pair for pair in ranked(section) if pair[0] != ratios.OURS]
    rows = [
        f"| {name} | {wire} | {' | '.join(judged(section, name, wire, c) for c in counts)} | "
        f"{processor(section, name, wire)} |"
        for name, wire in pairs
    ]
    return "\n".join(lines + rows) if any(" x [" in row for row in rows) else ""


def judged(section, server, wire, connections):
    """One ratio with its verdict; the A/A pair itself gets none."""
    found = ratios.ratio(section, server, wire, connections)
    if found is None:
        return "-"
    words = said(found)
    if server == ratios.AGAIN:
        return f"{words}: the noise"
    noise = ratios.ratio(section, ratios.AGAIN, wire, connections)
    return f"{words} {ratios.verdict(found, noise)}"


def said(found):
    """A ratio and its interval."""
    return f"{number(found.ratio)} x [{number(found.low)}, {number(found.high)}]"


def processor(section, server, wire):
    """Their processor time a request divided by ours, at the most connections."""
    found = ratios.ratio(section, server, wire, section["connections"][-1], "cpu_us")
    return said(found) if found else "-"


def weight(document):
    """What each server brings and takes, with the first model that was measured."""
    key = next(iter(document["models"]))
    section = document["models"][key]
    words = (
        f"With model {key}; memory of the whole process tree before any load (proportional: shared "
        "pages counted once), and after all rounds; ready = start to the first right answer."
    )
    heads = (
        "| server | versions | setting | MB installed / packages | ready s | processes | "
        "resident / proportional MB | after the rounds MB | idle CPU % |"
    )
    lines = [
        words,
        "",
        heads,
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, facts in section["servers"].items():
        installed = "-"
        if "megabytes" in facts:
            installed = f"{facts['megabytes']:,.0f} / {facts['packages']}"
        versions = ", ".join(f"{each} {what}" for each, what in facts["versions"].items())
        lines.append(
            f"| {name} | {versions} | {facts['setting']} | {installed} | {facts['ready_s']:.1f} | "
            f"{facts['processes']} | {facts['rss_mb']:,.0f} / {facts['pss_mb']:,.0f} | "
            f"{facts['loaded_rss_mb']:,.0f} | {facts['idle_cpu_percent']:.0f} |"
        )
    return "\n".join(lines)


def missing(document):
    """What was asked for and did not run, with the reason."""
    lines = [
        f"- {name}, model {key}: {reason}"
        for key, section in document["models"].items()
        for name, reason in section["failed"].items()
    ]
    return "\n".join(lines) or "Everything that was asked for ran."
