"""`shard` and `stage`: a model too large for one process, cut and run in pieces."""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import click

from modelworks.cli import human
from modelworks.cli.context import json_option
from modelworks.cli.exits import Terminated
from modelworks.cli.output import Output
from modelworks.core.errors import ConflictError, InvalidError

_MODEL: Final = "model.onnx"


class _Address(Protocol):
    host: str
    port: int


class _Host(Protocol):
    """What the engine `stages` offers a stage by."""

    address: _Address

    def run(self) -> None: ...
    def close(self) -> None: ...


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--stages", "count", default=2, show_default=True, help="How many, 2 to 16.")
@click.option(
    "--by",
    type=click.Choice(["bytes", "time"]),
    default="bytes",
    show_default=True,
    help="What is shared out evenly: the weights, or the time that operators take here.",
)
@click.option(
    "--same",
    type=click.Choice(["bits", "off"]),
    default="bits",
    show_default=True,
    help="Compare with the whole; off for models that do not fit into memory here.",
)
@json_option
def shard(model: Path, into: Path, count: int, by: str, same: str, as_json: bool) -> None:
    """Cut an ONNX model into stages, each of which runs in a process of its own.

    MODEL is a folder with model.onnx, with the files that its weights lie in. The result is served
    by the engine `stages`: docs/shards.md.

    \b
    modelworks shard big/ --into big-in-4 --stages 4
    modelworks serve --file big-in-4 --name big
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from modelworks.core.optimizing.passes import PassJob, settled
    from modelworks.core.tensor import Signature
    from modelworks.plugins.load import load

    run = load("passes", "shard")()
    settings = settled(run.facts, {"stages": count, "by": by, "same": same})
    if not model.is_dir() and model.name != _MODEL:
        raise InvalidError(
            f"{model}: a folder with {_MODEL} is wanted, or that file", field="model"
        )
    try:
        into.mkdir(parents=True)
    except FileExistsError:
        raise ConflictError(f"{into} is there already: name a new folder") from None
    source = model if model.is_dir() else model.parent
    try:
        applied = run.apply(PassJob(source, "onnx", into, Signature((), ()), settings))
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)  # it is ours, and no model
        raise
    out = Output(as_json=as_json)
    if as_json:
        out.document({"into": str(into), "notes": applied.notes, "figures": applied.figures})
        return
    for note in applied.notes:
        out.line(note)
    out.note(f"  serve  modelworks serve --file {human.printable(str(into))} --name NAME")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--number", required=True, type=int, help="Which stage, from 0.")
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT")
@click.option("--threads", default=1, show_default=True, help="Of its engine.")
@click.option("--tls-ca", default="", help="Authority of both sides; needed off loopback.")
@click.option("--tls-cert", default="", help="Certificate of this stage.")
@click.option("--tls-key", default="", help="Its key, not encrypted.")
@json_option
def stage(folder: Path, number: int, listen: str, threads: int, as_json: bool, **tls: str) -> None:
    """Run one stage of a model for pipelines on other hosts, until Ctrl-C or SIGTERM.

    FOLDER is what `modelworks shard` made; of the other stages only stages.json is needed. Without
    certificates only programs of this machine may ask.

    \b
    modelworks stage big-in-4 --number 1 --listen 10.0.0.2:7001 \\
        --tls-ca ca.pem --tls-cert stage.pem --tls-key stage.key
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    out = Output(as_json=as_json)
    host = _hosted(folder, number, listen, threads, tls)
    running = threading.Thread(target=host.run, name="stage", daemon=True)
    running.start()
    try:
        if as_json:
            out.document({"host": host.address.host, "port": host.address.port, "stage": number})
        else:
            out.line(f"stage {number} listens on {host.address}")
            out.note("  end    Ctrl-C")
        running.join()
    except (KeyboardInterrupt, Terminated):
        out.note("ending")
    finally:
        host.close()
        running.join(5.0)


def _hosted(folder: Path, number: int, listen: str, threads: int, tls: Mapping[str, str]) -> _Host:
    from modelworks.core.seams import EngineOptions
    from modelworks.plugins.load import load

    engine: Any = load("engines", "stages")
    found: _Host = engine.host(folder, number, listen, EngineOptions(threads=threads), tls)
    return found
