"""What the demo does, step by step."""

import json
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelworks.cli import human
from modelworks.cli.demo.answering import answer
from modelworks.cli.demo.deploying import deploy
from modelworks.cli.demo.optimizing import optimize
from modelworks.cli.demo.rolling import roll_out
from modelworks.cli.demo.shell import Background, Shell
from modelworks.cli.demo.watching import watch
from modelworks.cli.exits import Terminated
from modelworks.cli.output import Output
from modelworks.cli.rows import read_csv
from modelworks.client.data import DataPlane
from modelworks.core.errors import CrashedError, MissingExtraError, ModelworksError
from modelworks.measure.exchange import exchange
from modelworks.measure.load import Load, Loaded, run
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target

LOOP_SECONDS = 1.0
NATIVE = "neighbours.joblib"
"""No converter knows its estimator: it is served as it is, by its owner's word."""
_SNIPPET = """\
import modelworks, numpy
client = modelworks.Client(server="{url}")
print(client.predict("digits", numpy.load("digits.npy")[:2])["predictions"])"""


@dataclass(slots=True)
class Line:
    """One model's way, as the table at the end shows it."""

    ref: str
    file: str
    about: str
    accuracy: float
    rows: int
    same: int
    parity: str
    loaded: Loaded


@dataclass(frozen=True, slots=True)
class Imported:
    """One file that came in."""

    ref: str
    trained: dict[str, Any]
    parity: str


def play(out: Output, *, keep: bool, port: int) -> dict[str, Any]:
    """Run the demo in a folder of its own; the user's registry is never touched.

    Args:
        out: says what happens.
        keep: leave control plane and server running until Ctrl-C.
        port: of the server; 0 = a free one.

    Returns:
        The results, JSON values.

    Raises:
        MissingExtraError: scikit-learn, its converter or the registry is not installed.
        CrashedError: a step failed; the message says which.
    """
    for module, name in (("sklearn", "sklearn"), ("skl2onnx", "skl2onnx"), ("sqlalchemy",) * 2):
        if find_spec(module) is None:
            raise MissingExtraError("the demo", "sklearn", name)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="modelworks-demo-") as name:
        folder = Path(name)
        shell = Shell(out, folder, {"MODELWORKS_HOME": str(folder / "home")})
        shell.say("Everything happens in a folder of its own; your registry is not touched.")
        imported = _bring_in(shell, folder)
        refused = _door(shell, folder)
        _registry(shell)
        lines = _live(shell, folder, imported, port)
        shell.title(9, "Deploy: one manifest; a revision is ready before the one before goes")
        deploy(shell, folder, _cancers(imported), _rows(folder, "cancer.csv")[0])
        shell.title(10, "Watch: an instrument begins to read wrongly; which feature drifted first?")
        drifted = watch(shell, _cancers(imported)[1], _rows(folder, "cancer.csv"), port)
        shell.title(11, "Roll out: traffic moves only on evidence; a broken one is rolled back")
        roll_out(shell, folder, _cancers(imported), _rows(folder, "cancer.csv")[0], port)
        shell.title(12, "Optimize: the fastest form that is still as good, found within seconds")
        large = next(item for item in imported if item.ref == _cancers(imported)[1])
        rows = _rows(folder, "cancer.csv")
        fastest = optimize(shell, large.ref, rows, large.trained["answers"], port)
        shell.title(13, "Answer otherwise: three models as one, a job, a text in pieces")
        pieces = answer(shell, folder, rows, _votes(imported), port)
        _table(shell, lines, time.monotonic() - begin)
        result = {
            "seconds": round(time.monotonic() - begin, 1),
            "models": [_json(line) for line in lines],
            "refused": refused,
            "drifted": drifted,
            "fastest": fastest,
            "pieces": pieces,
        }
        if keep:
            _keep(out, shell, port, result)
    return result


def _bring_in(shell: Shell, folder: Path) -> list[Imported]:
    shell.title(1, "Train: real models, in seconds, on data that scikit-learn ships")
    shell.python("-m", "modelworks.ext.demo.train", ".")
    trained = json.loads((folder / "trained.json").read_text())
    shell.title(2, "Import: opened in a sandbox, converted to ONNX, compared with the original")
    names = {"cancer-small.joblib": "cancer", "cancer-large.joblib": "cancer"}
    found: list[Imported] = []
    for entry in trained:
        name = names.get(entry["file"]) or Path(entry["file"]).stem
        more: list[str] = []
        if entry["file"] == "cancer-small.joblib":
            more = ["--alias", "champion"]
        elif entry["file"] == NATIVE:
            more = ["--trust", "--runtime", "native"]
        elif entry["file"] == "cancer-large.joblib":
            more = ["--parent", found[0].ref, "--label", "experiment=more-trees"]
        sample = ["--sample", entry["sample"]]
        ref = shell.modelworks("import", entry["file"], "--name", name, *sample, *more).strip()
        evidence = shell.ask("show", ref)["evidence"]
        parity = next((e["summary"] for e in evidence if e["kind"] == "parity"), "not made")
        found.append(Imported(ref, entry, parity))
    return found


def _door(shell: Shell, folder: Path) -> str:
    """A file that would run a command when it is opened: refused, and nothing ran."""
    shell.title(3, "Guard the door: a file from a stranger that runs a command when it is opened")
    message = shell.refused("import", "stranger.pkl", "--name", "stranger")
    if (folder / "stranger-was-here").exists():
        raise CrashedError("the stranger's command ran")
    shell.say("  refused; its command did not run")
    return message


def _registry(shell: Shell) -> None:
    shell.title(4, "Register: immutable versions, aliases that move, a history that stays")
    versions = shell.ask("versions", "cancer")
    new, old = versions[0]["ref"], versions[1]["ref"]
    shell.modelworks("versions", "cancer")
    shell.modelworks("compare", old, new)
    reason = "more trees, more right answers"
    shell.modelworks("alias", "set", "cancer@champion", versions[0]["version"], "--reason", reason)
    shell.modelworks("history", "cancer@champion")
    shell.modelworks("verify", "--all")
    shell.modelworks("models")


def _live(shell: Shell, folder: Path, imported: list[Imported], port: int) -> list[Line]:
    shell.title(5, "Serve: several models, two versions of one, one port")
    server = shell.serve("serve", *(item.ref for item in imported), "--port", str(port))
    try:
        url = str(server.said["url"])
        shell.say(f"  ready at {url}")
        _predict(shell, folder, url)
        lines = _measure(shell, folder, imported, url)
        _drain(shell, folder, server, url)
    finally:
        server.stop()
    return lines


def _predict(shell: Shell, folder: Path, url: str) -> None:
    shell.title(6, "Predict: curl, command line, Python")
    row = _rows(folder, "cancer.csv")[0]
    (folder / "row.json").write_text(json.dumps({"rows": [row]}))
    if shutil.which("curl"):
        head = ["-H", "Content-Type: application/json"]
        shell.run(["curl", "-s", *head, "-d", "@row.json", f"{url}/predict/cancer"])
    else:
        shell.say("(curl is not installed; it would be asked here)")
    shell.modelworks("predict", "cancer@champion", "--csv", "cancer.csv", "--url", url, show=3)
    shell.python("-c", _SNIPPET.format(url=url))


def _measure(shell: Shell, folder: Path, imported: list[Imported], url: str) -> list[Line]:
    shell.title(7, "Measure: the served model against the original, and its latency")
    plane = DataPlane(url)
    lines = []
    try:
        for item in imported:
            rows = _rows(folder, item.trained["sample"])
            answers = [label_of(p) for p in plane.predict(item.ref, rows)["predictions"]]
            wanted = item.trained["answers"]
            same = sum(a == b for a, b in zip(answers, wanted, strict=True))
            shell.say(f"  {item.ref}: the original's label on {same} of {len(rows)} unseen rows")
            target = parse_target(f"{url}/predict/{item.ref}")
            request = request_bytes(target, Body(json.dumps({"rows": rows[:1]}).encode()))
            loop = run(Load(target, [request], seconds=LOOP_SECONDS, warm_s=0.2))
            if loop.interrupted:
                raise KeyboardInterrupt
            entry = item.trained
            lines.append(
                Line(
                    item.ref,
                    entry["file"],
                    entry["about"],
                    entry["accuracy"],
                    len(rows),
                    same,
                    item.parity,
                    loop,
                )
            )
    finally:
        plane.close()
    return lines


def _drain(shell: Shell, folder: Path, server: Background, url: str) -> None:
    """SIGTERM while requests run: every request that was taken is answered."""
    shell.title(8, "Drain: SIGTERM while requests are under way")
    body = json.dumps({"rows": _rows(folder, "cancer.csv")[:1]}).encode()
    seen: dict[str, int] = {"answered": 0, "failed": 0}
    load = threading.Thread(target=_until_refused, args=(url, body, seen), daemon=True)
    load.start()
    time.sleep(0.5)
    shell.say(f"$ kill -TERM {server.process.pid}")
    code = server.stop()
    load.join(timeout=30)
    shell.say(
        f"  {seen['answered']} answered, {seen['failed']} failed; the server ended with {code}"
    )
    if seen["failed"] or code != 0:
        raise CrashedError(
            f"the drain lost {seen['failed']} requests, and the server ended with code {code}"
        )


def _until_refused(url: str, body: bytes, seen: dict[str, int]) -> None:
    """Requests on fresh connections until none is taken any more."""
    target = parse_target(f"{url}/predict/cancer")
    while True:
        try:
            answer = exchange(target, request_bytes(target, Body(body)), 60.0)
        except ModelworksError as error:
            # Refused before it was taken: that is what a closed door is, and no failure.
            if not isinstance(error.__cause__, ConnectionRefusedError):
                seen["failed"] += 1
            return
        seen["answered" if answer.good else "failed"] += 1


def _table(shell: Shell, lines: list[Line], seconds: float) -> None:
    shell.title(14, "The result")
    head = ["model", "from", "accuracy", "as original", "p50", "p99", "requests/s"]
    rows = [
        [
            line.ref,
            line.file,
            f"{line.accuracy:.1%}",
            f"{line.same} of {line.rows}",
            f"{line.loaded.latency.latency().p50 * 1000:.2f} ms",
            f"{line.loaded.latency.latency().p99 * 1000:.2f} ms",
            f"{line.loaded.throughput:,.0f}",
        ]
        for line in lines
    ]
    for text in human.aligned(head, rows):
        shell.say(f"  {text}")
    shell.say()
    shell.say("Latency: one connection on this machine, one row of JSON a request;")
    shell.say("modelworks bench shows what the server does under load.")
    shell.say(f"{seconds:.0f} seconds from raw data to live endpoints.")


def _keep(out: Output, shell: Shell, port: int, result: dict[str, Any]) -> None:
    """The whole factory on the demo's registry, until Ctrl-C."""
    shell.title(15, "Keep: console and server go on until Ctrl-C")
    running = shell.serve("up", "--port", str(port), "--control-port", "0")
    try:
        shell.say(f"  console  {running.said['control']}")
        shell.say(f"  server   {running.said['server']}/predict/cancer")
        if out.as_json:
            out.document({**result, **running.said})
        running.wait()
    except (KeyboardInterrupt, Terminated):
        shell.say("stopping both")
    finally:
        running.stop()


def _cancers(imported: list[Imported]) -> tuple[str, str]:
    """Its two versions, in their order."""
    first, second = (item.ref for item in imported if item.ref.startswith("cancer:"))
    return first, second


def _votes(imported: list[Imported]) -> list[list[str]]:
    """What each original says of the people that no training has seen."""
    return [item.trained["answers"] for item in imported if item.trained["sample"] == "cancer.csv"]


def _json(line: Line) -> dict[str, Any]:
    return {
        "ref": line.ref,
        "file": line.file,
        "about": line.about,
        "accuracy": line.accuracy,
        "rows": line.rows,
        "same_label": line.same,
        "parity": line.parity,
        "p50_ms": line.loaded.latency.latency().p50 * 1000,
        "p99_ms": line.loaded.latency.latency().p99 * 1000,
        "requests_per_second": line.loaded.throughput,
    }


def _rows(folder: Path, sample: str) -> list[Any]:
    """The rows of a sample file as JSON values."""
    if sample.endswith(".csv"):
        return list(read_csv(folder / sample, set()))
    import numpy as np

    return list(np.load(folder / sample, allow_pickle=False).tolist())


def label_of(prediction: dict[str, Any]) -> str:
    """The label of an answer; of a network that gives raw scores, the place of the highest."""
    if "label" in prediction:
        return str(prediction["label"])
    scores = prediction["outputs"]
    first = next(iter(scores.values()))
    return str(max(range(len(first)), key=first.__getitem__))
