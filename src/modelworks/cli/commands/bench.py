"""`bench`: load on an endpoint: throughput, latencies, the knee, a comparison with another."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import click

from modelworks.cli.bar import Bar
from modelworks.cli.bench_options import (
    Options,
    bench_options,
    contents_of,
    headers_of,
    writable,
    write_text,
)
from modelworks.cli.context import settings
from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.cli.rows import read_rows
from modelworks.client.data import model_path
from modelworks.core.reference import parse_ref
from modelworks.measure import charts, documents, noise, page, picture, tables, wrk
from modelworks.measure.agree import wrong_answers
from modelworks.measure.aim import Aim, Asked, aim, beside
from modelworks.measure.compare import Verdict
from modelworks.measure.duel import Compared, duel
from modelworks.measure.inputs import Wanted
from modelworks.measure.load import Load, Loaded, Progress
from modelworks.measure.observe import Generate, Point
from modelworks.measure.parallel import run_parallel
from modelworks.measure.schedule import Arrivals
from modelworks.measure.sweep import Swept, over_connections, over_rates, rates_around, sweep
from modelworks.measure.target import Target, parse_target

_CONNECTIONS = (1, 8, 64)
_OPEN_CONNECTIONS = 64
_SAMPLE = 100


@click.command()
@click.argument("target")
@bench_options
def bench(target: str, options: Options) -> int:
    """Put load on an endpoint, and say what it gives.

    TARGET is a model of a running server (NAME, NAME@ALIAS, NAME:VERSION), or the URL of a model
    of any server of the Open Inference Protocol, or any URL that takes a POST (with --body).
    Requests are made up from the model's inputs unless --rows or --body says otherwise.

    \b
    modelworks bench fraud@champion
    modelworks bench fraud --rate 500,1000,2000 --arrivals poisson --deadline 20 --html fraud.html
    modelworks bench http://127.0.0.1:8001/v2/models/fraud --binary --batch 32 -c 8
    modelworks bench http://127.0.0.1:3000/predict --body row.json
    modelworks bench fraud --against http://127.0.0.1:8001/v2/models/fraud -c 64 --rounds 9
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    return Bench(target, options).go()


class Bench:
    """One benchmark, from the command line's words to its report."""

    def __init__(self, target: str, options: Options) -> None:
        self._options = options
        self._out = Output(as_json=options.as_json)
        self._given = target
        self._generate, self._generator = _generator(options)

    def go(self) -> int:
        """Measure and report; the exit code."""
        options = self._options
        if options.png is not None:
            picture.check()
        writable(options.html, "html")
        writable(options.png, "png")
        target = self._target(self._given)
        asked = self._asked()
        found = aim(target, asked)
        machine = self._machine()
        self._out.note(f"{found.target.url}: {_said(found)}; generator: {self._generator}")
        if options.against:
            return self._compare(found, asked, machine)
        swept = self._sweep(found)
        return self._report(found, swept, machine)

    def _target(self, text: str) -> Target:
        """The endpoint that a word of the command line means."""
        options, known = self._options, settings()
        if "://" in text:
            target = parse_target(text)
        else:
            base = options.url or known.server
            target = parse_target(base if "://" in base else f"http://{base}")
            path = target.path.rstrip("/")
            target = target.at(f"{path}/v2/models/{model_path(parse_ref(text))}")
            target = replace(target, key=known.key)  # an address of somebody else's gets none
        return replace(
            target,
            cafile=options.ca or known.tls.ca,
            certfile=options.client_cert or known.tls.certificate,
            keyfile=options.client_key or known.tls.key,
            insecure=options.insecure,
        )

    def _asked(self) -> Asked:
        options = self._options
        return Asked(
            wanted=Wanted(rows=options.batch, binary=options.binary, seed=options.seed),
            bodies=contents_of(options.body),
            content_type=options.content_type,
            rows=tuple(read_rows(options.rows)) if options.rows else None,
            headers=headers_of(options.header),
            check=options.check,
            pids=options.pid,
        )

    def _load(self, found: Aim) -> Load:
        options = self._options
        listed = options.connections or [_OPEN_CONNECTIONS]
        rate = options.rate[0] if isinstance(options.rate, list) else None
        return Load(
            target=found.target,
            requests=found.requests,
            connections=listed[0],
            rate=rate,
            arrivals=Arrivals(options.arrivals),
            seconds=options.seconds,
            warm_s=options.warm,
            most=options.requests,
            timeout_s=options.timeout,
            deadline_s=options.deadline / 1000,
            rows=found.rows,
            sample=_SAMPLE if options.check else 0,
            pin=options.pin[0] if options.pin else None,
            seed=options.seed,
        )

    def _sweep(self, found: Aim) -> list[Swept]:
        """A closed loop's sweep, an open loop's, or for automatic rates the one after the other."""
        options, load = self._options, self._load(found)
        if isinstance(options.rate, list):
            return [self._swept(found, over_rates(load, options.rate))]
        if options.rate is None:
            counts = options.connections or _CONNECTIONS
            return [self._swept(found, over_connections(load, counts))]
        first = self._swept(found, over_connections(load, [load.connections]))
        if first.interrupted or first.knee.saturation <= 0:
            return [first]
        rates = over_rates(load, rates_around(first.knee.saturation))
        return [first, self._swept(found, rates)]

    def _swept(self, found: Aim, loads: Sequence[Load]) -> Swept:
        with Bar(self._out, len(loads)) as bar:

            def progress(load: Load) -> Progress:
                name = f"{load.connections} conn." if load.rate is None else f"{load.rate:g}/s"
                bar.begin(name, load.seconds)
                return bar.show

            return sweep(loads, self._generate, found.server, progress)

    def _machine(self) -> dict[str, Any]:
        """The machine and its calm, before anything else runs."""
        calm = noise.calibrate()
        words = noise.unsteady(calm)
        self._out.note(f"calibration: {noise.said(calm)}; load average {os.getloadavg()[0]:.1f}")
        if words:
            self._out.note(f"a noisy machine: {words}; trust ratios of interleaved runs only")
        return {
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "load": os.getloadavg(),
            "calibration": asdict(calm),
            "unsteady": words,
        }

    def _report(self, found: Aim, sweeps: Sequence[Swept], machine: dict[str, Any]) -> int:
        options = self._options
        points = [point for swept in sweeps for point in swept.points]
        wrong, words = self._wrong(found, points)
        remarks = [line for swept in sweeps for line in tables.remarks(swept)]
        remarks += _after(found, points, wrong, words)
        limit = options.deadline / 1000
        shown = [
            (
                tables.columns(swept.axis, limit),
                [tables.row(point, swept.axis, limit) for point in swept.points],
            )
            for swept in sweeps
        ]
        drawn = [chart for swept in sweeps for chart in charts.of_sweep(swept)]
        self._write(f"{found.target.url}", self._facts(found, machine), shown, remarks, drawn)
        if options.as_json:
            self._out.document(
                {
                    **self._about(found, machine),
                    "sweeps": [documents.swept_document(swept) for swept in sweeps],
                    "wrong_answers": wrong if options.check else None,
                }
            )
        for head, rows in shown if not options.as_json else ():
            self._out.table(head, rows, "nothing was measured")
        for line in remarks if not options.as_json else ():
            self._out.line(line)
        if not options.as_json and points:
            self._out.line()
            for line in tables.histogram_lines(points[-1].loaded.latency):
                self._out.line(line)
        if any(swept.interrupted for swept in sweeps):
            return Exit.INTERRUPTED
        if wrong:
            return Exit.INVALID
        return Exit.OK if any(point.loaded.answered for point in points) else Exit.UNAVAILABLE

    def _compare(self, found: Aim, asked: Asked, machine: dict[str, Any]) -> int:
        options = self._options
        other = beside(found, asked, self._target(options.against))
        load = self._load(found)
        facing = replace(load, target=other.target, requests=other.requests)
        self._out.note(f"against {other.target.url}: {_said(other)}")
        with Bar(self._out, options.rounds * 3) as bar:
            compared = duel(
                (load, found.server),
                (facing, other.server),
                partial(_shown, self._generate, bar),
                rounds=options.rounds,
                bar=1.0 if options.bar is None else options.bar,
                seed=options.seed,
                progress=lambda number, name: bar.begin(f"round {number + 1} {name}", load.seconds),
            )
        points = [point for listed in compared.points.values() for point in listed]
        lines = tables.ratio_lines(compared)
        lines += sorted({words for point in points for words in point.machine.noisy})[:4]
        shown = [tables.medians(compared)]
        facts = [*self._facts(found, machine), f"against {other.target.url}"]
        title = f"{found.target.url} against {other.target.url}"
        self._write(title, facts, shown, lines, charts.of_comparison(compared))
        if options.as_json:
            self._out.document(
                {
                    **self._about(found, machine),
                    "against": other.target.url,
                    **documents.compared_document(compared),
                }
            )
        else:
            self._out.table(*shown[0], "nothing was measured")
            for line in lines:
                self._out.line(line)
        return self._verdict(compared)

    def _verdict(self, compared: Compared) -> int:
        if len(compared.points["this"]) < self._options.rounds:
            return Exit.INTERRUPTED
        if self._options.bar is None or compared.verdict is Verdict.MET:
            return Exit.OK
        return Exit.GATE if compared.verdict is Verdict.MISSED else Exit.UNAVAILABLE

    def _wrong(self, found: Aim, points: Sequence[Point]) -> tuple[int, str]:
        count, words = 0, ""
        for point in points if self._options.check else ():
            more, said = wrong_answers(found.answers, point.loaded.samples)
            count, words = count + more, words or said
        return count, words

    def _about(self, found: Aim, machine: dict[str, Any]) -> dict[str, Any]:
        return {
            "target": found.target.url,
            "rows_a_request": found.rows,
            "request_bytes": len(found.requests[0]),
            "different_requests": len(found.requests),
            "server_pids": list(found.server.pids),
            "generator": self._generator,
            "machine": machine,
        }

    def _facts(self, found: Aim, machine: dict[str, Any]) -> list[str]:
        load = self._load(found)
        unsteady = f", {machine['unsteady']}" if machine["unsteady"] else ""
        calm = f"load average {machine['load'][0]:.1f}{unsteady}"
        how = f"{load.seconds:g} s a point after {load.warm_s:g} s of warm-up"
        return [
            f"{machine['at']}, {machine['cores']} cores, {machine['platform']}, {calm}",
            f"{_said(found)}; {how}; generator: {self._generator}",
        ]

    def _write(
        self,
        title: str,
        facts: Sequence[str],
        shown: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]],
        remarks: Sequence[str],
        drawn: Sequence[charts.Chart],
    ) -> None:
        options = self._options
        if options.html is not None:
            write_text(options.html, page.page(title, facts, shown, remarks, drawn), "html")
        if options.png is not None:
            picture.write_png(options.png, title, drawn)


def _shown(generate: Generate, bar: Bar, load: Load, _progress: Progress | None) -> Loaded:
    """A comparison's run with the bar as its progress."""
    return generate(load, bar.show)


def _generator(options: Options) -> tuple[Generate, str]:
    """What runs the loads, and what it is called."""
    pins = options.pin or ()

    def own(load: Load, progress: Progress | None) -> Loaded:
        count = min(options.processes, load.connections)
        return run_parallel(load, count, pins, progress)

    def by_wrk(load: Load, progress: Progress | None) -> Loaded:
        fits = options.generator == "wrk" or not wrk.unfit(load)
        return wrk.run_wrk(load) if fits else own(load, progress)

    if options.generator == "own" or (options.generator == "auto" and not wrk.available()):
        many = f", {options.processes} processes" if options.processes > 1 else ""
        return own, f"own{many}"
    return by_wrk, "wrk" if options.generator == "wrk" else "wrk where it can"


def _said(found: Aim) -> str:
    """What is sent, in a few words."""
    count = len(found.requests)
    rows = f"{found.rows} row{'s' if found.rows > 1 else ''}"
    pids = ", ".join(map(str, found.server.pids)) or "not known: no CPU figures"
    return (
        f"{count} different request{'s' if count > 1 else ''} of {rows}, "
        f"{len(found.requests[0]):,} bytes; server process {pids}"
    )


def _after(found: Aim, points: Sequence[Point], wrong: int, words: str) -> list[str]:
    """Remarks on the whole."""
    lines = [f"{wrong} sampled answers differ from the first ones: {words}"] if wrong else []
    if found.server.pids and all(point.cpu_us is None for point in points):
        lines.append("no CPU figures: the server's processes could not be read")
    return lines
