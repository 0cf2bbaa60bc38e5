"""`serve`: models from the registry, or one ONNX file, behind HTTP in the foreground."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from modelworks.apps.children import Announced, Child, free
from modelworks.apps.embed import local
from modelworks.apps.server_batching import arguments_of
from modelworks.cli.batching import batching_options
from modelworks.cli.context import json_option, settings
from modelworks.cli.edge import edge_flags
from modelworks.cli.foreground import foreground
from modelworks.cli.keeping import keeping_options
from modelworks.cli.memory import memory_options
from modelworks.cli.output import Output
from modelworks.cli.recording import Recording, recording_options
from modelworks.cli.rows import read_csv
from modelworks.cli.workers import THREADS_HELP, WORKERS, WORKERS_HELP
from modelworks.client import endpoints
from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.files import replace_text
from modelworks.core.graphs import GRAPH
from modelworks.core.home import Home
from modelworks.core.ids import uuid7
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.optimizing.wanted import GOALS, check_wanted
from modelworks.core.ragged import parse_ragged
from modelworks.core.reference import ModelRef, model_name, parse_ref
from modelworks.core.semver import Semver
from modelworks.core.served import Batching, read_served, write_served

_BACKGROUND = 200  # rows: more change nothing but the time


@click.command()
@click.argument("models", nargs=-1, metavar="[NAME[@ALIAS|:VERSION][#VARIANT]]...")
@click.option("--file", "file", type=click.Path(path_type=Path), help="An ONNX file, no registry.")
@click.option("--name", default="", help="Of the model, with --file (default: the file's name).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default="1", show_default=True, type=WORKERS, help=WORKERS_HELP)
@click.option("--threads", default="auto", type=WORKERS, help=THREADS_HELP)
@click.option(
    "--ragged",
    default="",
    metavar="MASK[:AXIS][,INPUT=VALUE]",
    help="With --file: requests of different lengths share calls, behind this mask input.",
)
@click.option(
    "--background",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Rows to explain one model's answers against; without it none are explained.",
)
@click.option(
    "--variant",
    default=SOURCE,
    metavar="WORD",
    help=f"Form of those that name none: {SOURCE} (it is), {', '.join(GOALS)}, or a name.",
)
@batching_options
@memory_options
@keeping_options
@recording_options
@edge_flags
@json_option
def serve(  # noqa: PLR0913, PLR0917 - click's parameters
    models: tuple[str, ...],
    file: Path | None,
    name: str,
    host: str,
    port: int,
    workers: str,
    threads: str,
    ragged: str,
    background: Path | None,
    variant: str,
    as_json: bool,
    batching: Batching,
    memory: tuple[str, ...],
    kept: tuple[str, ...],
    recording: Recording,
    edge: tuple[str, ...],
) -> int:
    """Serve models over HTTP until Ctrl-C or SIGTERM; requests under way are finished first.

    Port 0 takes a free one. With --json one document is printed once the server is ready.

    \b
    modelworks serve fraud@champion churn:2.1.0 --port 8000
    modelworks serve fraud:1.4.0#int8
    modelworks serve fraud --variant fastest
    modelworks serve --file model.onnx --name fraud
    modelworks serve fraud --tls-cert cert.pem --tls-key key.pem --access-log access.log
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    _check(models, file, name, ragged, background)
    if check_wanted(variant) != SOURCE and file is not None:
        raise click.UsageError("--variant goes with models of the registry")
    home, out = settings().home, Output(as_json=as_json)
    if "--unix-only" not in edge:
        free(host, port)
    listen = ["--host", host, "--port", str(port), "--workers", workers, "--with-parent"]
    listen += ["--threads", threads]
    listen += [*memory, *kept, *edge]
    if recording.wanted:
        listen += recording.arguments(home.records)
    if file is not None:
        if file == Path() or not file.exists():  # an empty variable of a script is no folder
            raise NotFoundError(f"no file {file}", field="file")
        wanted = model_name(name or _plain(file))
        told = ["--file", str(file), "--name", wanted, *arguments_of(batching)]
        told += ["--ragged", ragged] if ragged else []
        return _foreground(out, home, [*told, *listen], (wanted,))
    for ref in models:
        parse_ref(ref, variants=True)
    home.create()
    path = home.run / f"serve-{uuid7()}.json"
    known = path.with_suffix(".background") if background is not None else None
    try:
        models = _resolve(models, variant, path, out, batching)
        if background is not None and known is not None:
            _explained(path, background, known)
        return _foreground(out, home, ["--served", str(path), *listen], models)
    finally:
        path.unlink(missing_ok=True)
        if known is not None:
            known.unlink(missing_ok=True)


def _check(
    models: tuple[str, ...], file: Path | None, name: str, ragged: str, background: Path | None
) -> None:
    """Whether the words go together."""
    if bool(models) == (file is not None):
        raise click.UsageError("give model references, or --file with one ONNX file")
    if name and file is None:
        raise click.UsageError("--name goes with --file")
    if parse_ragged(ragged) and file is None:
        raise click.UsageError("--ragged goes with --file; otherwise it is said at import")
    if background is not None and len(models) != 1:
        raise click.UsageError("--background goes with one model of the registry")


def _explained(served: Path, table: Path, known: Path) -> None:
    """Put the rows beside the served list, as the server reads them.

    Raises:
        NotFoundError: no such file.
        InvalidError: a row that the model does not take.
    """
    from modelworks.protocol.rows import read_rows

    listed = read_served(served)
    # A graph brings its models; it is the one that was named.
    (model,) = [one for one in listed.models if one.format == GRAPH] or listed.models
    if model.signature is None:
        raise UnsupportedError("the version has no signature: import it again", field="background")
    texts = {spec.name for spec in model.signature.inputs if spec.datatype == "BYTES"}
    rows = read_csv(table, texts)[:_BACKGROUND]
    read_rows(rows, model.signature)
    replace_text(known, json.dumps({"rows": rows}))
    named = replace(model, background=str(known))
    lines = tuple(named if one is model else one for one in listed.models)
    write_served(served, replace(listed, models=lines))


def _resolve(
    models: tuple[str, ...], variant: str, path: Path, out: Output, batching: Batching
) -> tuple[str, ...]:
    """Write the served list: files in place, digests checked; what is served, as people say it."""
    found = settings()
    if found.url:
        raise UnsupportedError(
            "serve reads the registry on this machine: unset MODELWORKS_URL, or run it there",
            field="MODELWORKS_URL",
        )
    factory = local(found.home, found.stores)
    with out.progress() as say:
        say("laying out the model files")
        notes: list[str] = []
        listed = factory.resolve(models, variant, notes.append)
        lines = tuple(replace(model, batching=batching) for model in listed.models)
        write_served(path, replace(listed, models=lines))
    for note in notes:
        out.note(note)
    if not any(model.variant for model in lines):
        return models
    refs = (ModelRef(m.name, None, Semver.parse(m.version), m.variant) for m in lines)
    return tuple(map(str, refs))


def _foreground(out: Output, home: Home, arguments: Sequence[str], models: tuple[str, ...]) -> int:
    """Run the server until a signal, or until it ends by itself."""
    child = Child("model server", "modelworks.apps.server", arguments)

    def ready(announced: Announced) -> Callable[[], object] | None:
        entry = _register(home, announced, models)
        _ready(out, announced, models)
        return partial(entry.unlink, missing_ok=True) if entry is not None else None

    return foreground(out, child, "the model server", ready)


def _register(home: Home, announced: Announced, models: tuple[str, ...]) -> Path | None:
    """List the server; a container without a writable home serves all the same, unlisted."""
    try:
        return endpoints.register(home, models[0], announced.url, "serve", models)
    except OSError:
        return None


def _ready(out: Output, announced: Announced, models: tuple[str, ...]) -> None:
    if out.as_json:
        out.document({"url": announced.url, "port": announced.port, "models": models})
        return
    out.line(f"serving {', '.join(models)} at {announced.url}")
    first = parse_ref(models[0], variants=True).of_version
    out.note(f"  try    modelworks predict {first} --url {announced.url} --rows '[...]'")
    out.note(f"  see    {announced.url}/v2  {announced.url}/metrics")
    out.note("  end    Ctrl-C")


def _plain(file: Path) -> str:
    """The file's name as a model name; `model` where it cannot be one."""
    stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in file.stem.lower())
    return stem.strip("-")[:128] or "model"
