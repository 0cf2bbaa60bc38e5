"""The saved document as Markdown tables; `docs/peers.md` holds them between two marks."""

from benchmarks.peers import ratios
from benchmarks.peers.models import TITLES

from modelworks.measure.compare import FEWEST_ROUNDS

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
    """Everything: at a glance, each model's tables, what things weigh, what is missing."""
    sections = document["models"]
    if not sections:
        return "Nothing was measured."
    parts = ["### At a glance", glance(document)]
    for key, section in sections.items():
        parts += [heading(key, section), noises(section), rates(section), compared(section)]
    parts += ["### Weight", weight(document), "### Versions and settings", settings(document)]
    parts += ["### What did not run", missing(document)]
    return "\n\n".join(part for part in parts if part)


def glance(document):
    """One line a server: how many times its rate is ours, at every point, and its weight."""
    points = [
        (key, count)
        for key, section in document["models"].items()
        for count in section["connections"]
    ]
    heads = " | ".join(f"{key}, {count} conn." for key, count in points)
    words = (
        "Our requests/s divided by theirs, at so many connections, each server in its own fastest "
        "form (JSON, base64 in JSON or binary) and ours in the same one (binary for base64): above "
        "1 ours is faster. **Bold**: the difference is certain. (In brackets): no verdict, it lies "
        "within the noise of this run, or there were fewer than five rounds. The intervals are in "
        "the tables below, and why a server did not run is at the end. Empty: not asked. Memory is "
        "that of the whole process tree with the first model it served."
    )
    weights = weights_of(document)
    everyone = {
        name: None
        for section in document["models"].values()
        for name in (*section["servers"], *section["failed"])
        if name not in {ratios.OURS, ratios.AGAIN}
    }
    rows = []
    for name in everyone:
        cells = [glimpse(document["models"][key], name, count) for key, count in points]
        facts = weights.get(name)
        memory, ready = (
            (f"{facts['pss_mb']:,.0f}", f"{facts['ready_s']:.1f}") if facts else ("-", "-")
        )
        rows.append(f"| {name} | {' | '.join(cells)} | {memory} | {ready} |")
    if ratios.OURS in weights:
        facts = weights[ratios.OURS]
        cells = " | ".join("1" for _ in points)
        rows.insert(
            0, f"| modelworks | {cells} | {facts['pss_mb']:,.0f} | {facts['ready_s']:.1f} |"
        )
    ruler = "|---|" + "---:|" * (len(points) + 2)
    return "\n".join([words, "", f"| server | {heads} | memory MB | ready s |", ruler, *rows])


def glimpse(section, server, connections):
    """The ratio at one point on its fastest wire: bold with a verdict, else in brackets."""
    if server in section["failed"]:
        return "did not run"
    wires = section["servers"].get(server, {}).get("points", {})
    best = max(
        wires,
        key=lambda wire: middle(section, server, wire, connections, "requests_s"),
        default=None,
    )
    if best is None:
        return ""
    found = ratios.ratio(section, server, best, connections)
    if found is None:
        return "-"
    told = ratios.verdict(found, noise_of(section, best, connections))
    words = f"{number(found.ratio)} x"
    return f"({words})" if told == ratios.NONE else f"**{words}**"


def heading(key, section):
    """What was measured, when, by which command, where, and how loaded the machine was."""
    machine = section["machine"]
    command = f" `{section['command']}`" if "command" in section else ""
    minutes = f" ({section['minutes']:.0f} minutes)" if "minutes" in section else ""
    return (
        f"### {key}: {TITLES[key]}\n\n"
        f"{section['at']}{command}{minutes}: {section['rounds']} interleaved rounds of "
        f"{section['seconds']} s, longer where a request waits longer than a sixth of that. "
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, Linux "
        f"{machine['kernel']}, Python {machine['python']}; the server on one core, wrk on "
        f"another; load average {section['load_before']:.1f} before, "
        f"{section['load_after']:.1f} after."
    )


def noises(section):
    """How far our server was from itself, point by point."""
    found = []
    for wire in section["servers"].get(ratios.AGAIN, {}).get("points", {}):
        for count in section["connections"]:
            again = noise_of(section, wire, count)
            if again is not None:
                found.append(f"{again.noise:.0%} ({wire}, {count})")
    if not found:
        return "No noise is known: our own server did not run twice."
    few = "" if section["rounds"] >= FEWEST_ROUNDS else " Too few rounds for any verdict."
    return (
        f"Noise, our server from itself at most (form, connections): {', '.join(found)}. A smaller "
        f"difference is no difference.{few}"
    )


def noise_of(section, wire, connections):
    """The A/A pair's ratio at a point, of the wire that ours has for this one."""
    return ratios.ratio(section, ratios.AGAIN, ratios.LIKE.get(wire, wire), connections)


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
    words = (
        "Cells: requests/s ± half the interquartile range, p50 / p99 in ms; medians of the rounds."
    )
    counts = section["connections"]
    heads = " | ".join(f"{count} connections" if count > 1 else "1 connection" for count in counts)
    lines = [
        words,
        "",
        f"| server | form | {heads} | CPU µs a request | errors |",
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
        "Ours divided by theirs, same form, same run: median of the rounds' own ratios [its 95 % "
        "interval]. No verdict: the interval holds 1, or our own server, measured twice (the "
        "noise), was as far from itself, or there were fewer than five rounds."
    )
    lines = [
        words,
        "",
        f"| server | form | {heads} | CPU a request, theirs to ours |",
        "|---|---|" + "---|" * (len(counts) + 1),
    ]
    pairs = [pair for pair in ranked(section) if pair[0] != ratios.OURS]
    rows = [
        f"| {name} | {wire} | {' | '.join(judged(section, name, wire, c) for c in counts)} | "
        f"{processor(section, name, wire)} |"
        for name, wire in pairs
    ]
    known = any(ratios.ratio(section, *pair, count) for pair in pairs for count in counts)
    return "\n".join(lines + rows) if known else ""


def judged(section, server, wire, connections):
    """One ratio with its verdict; the A/A pair itself gets none."""
    found = ratios.ratio(section, server, wire, connections)
    if found is None:
        return "-"
    words = said(found)
    if server == ratios.AGAIN:
        return f"{words}: the noise"
    noise = noise_of(section, wire, connections)
    return f"{words} {ratios.verdict(found, noise)}"


def said(found):
    """A ratio and its interval, where there is more than one round to have one of."""
    if found.rounds == 1:
        return f"{number(found.ratio)} x"
    return f"{number(found.ratio)} x [{number(found.low)}, {number(found.high)}]"


def processor(section, server, wire):
    """Their processor time a request divided by ours, at the most connections."""
    found = ratios.ratio(section, server, wire, section["connections"][-1], "cpu_us")
    return said(found) if found else "-"


def weights_of(document):
    """Every server's facts with the first model it served; under `model` which one that is."""
    found = {}
    for key, section in document["models"].items():
        for name, facts in section["servers"].items():
            found.setdefault(name, {**facts, "model": key})
    return found


def weight(document):
    """What each server brings and takes, with the first model it served."""
    words = (
        "Memory of the whole process tree before any load (proportional: shared pages counted "
        "once), and after all rounds; ready = start to the first right answer on one core."
    )
    heads = (
        "| server | model | MB installed / packages | ready s | processes | "
        "resident / proportional MB | after the rounds MB | idle CPU % |"
    )
    lines = [words, "", heads, "|---|---|---:|---:|---:|---:|---:|---:|"]
    for name, facts in weights_of(document).items():
        installed = "-"
        if "megabytes" in facts:
            installed = f"{facts['megabytes']:,.0f} / {facts['packages']}"
        lines.append(
            f"| {name} | {facts['model']} | {installed} | {facts['ready_s']:.1f} | "
            f"{facts['processes']} | {facts['rss_mb']:,.0f} / {facts['pss_mb']:,.0f} | "
            f"{facts['loaded_rss_mb']:,.0f} | {facts['idle_cpu_percent']:.0f} |"
        )
    return "\n".join(lines)


def settings(document):
    """What ran: versions and configuration of every server."""
    lines = ["| server | versions | setting |", "|---|---|---|"]
    for name, facts in weights_of(document).items():
        versions = ", ".join(f"{each} {what}" for each, what in facts["versions"].items())
        lines.append(f"| {name} | {versions} | {facts['setting']} |")
    return "\n".join(lines)


def missing(document):
    """What was asked for and did not run, with the reason: a line a reason."""
    found = {}
    for key, section in document["models"].items():
        for name, reason in section["failed"].items():
            found.setdefault(reason, {}).setdefault(name, []).append(key)
    lines = [
        f"- {', '.join(f'{name} (' + ', '.join(keys) + ')' for name, keys in names.items())}: "
        f"{reason}"
        for reason, names in found.items()
    ]
    return "\n".join(lines) or "Everything that was asked for ran."
