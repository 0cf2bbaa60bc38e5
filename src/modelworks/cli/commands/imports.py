"""`import`: a model file comes in, is checked, and becomes a version."""

import re
from pathlib import Path

import click

from modelworks.cli.commands.annotate import pairs
from modelworks.cli.commands.listing import document
from modelworks.cli.context import control, json_option
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.imports import Exporter, ImportOptions, ImportRequest, Runtime
from modelworks.core.model import ModelVersion
from modelworks.core.ragged import parse_ragged
from modelworks.core.reference import alias_name, model_name
from modelworks.core.semver import Bump, Semver
from modelworks.core.tensor import Datatype, Layout, TensorSpec

_INPUT = re.compile(r"(?P<name>[^:\[\]]+):(?P<type>[A-Za-z0-9]+)\[(?P<shape>[-\d, ]*)\]")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Of the model in the registry.")
@click.option(
    "--sample", type=click.Path(path_type=Path), help="csv, parquet, npy, npz or json of inputs."
)
@click.option("--bump", type=click.Choice([b.value for b in Bump]), help="Which part to raise.")
@click.option("--version", "exact", default="", metavar="X.Y.Z", help="Exactly this version.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME:TYPE[SHAPE]",
    help="An input the file does not describe: x:FP32[-1,3,32,32]; -1 is dynamic. Repeatable.",
)
@click.option(
    "--layout", type=click.Choice([v.value for v in Layout]), help="One matrix, or named columns."
)
@click.option(
    "--factory", default="", metavar="FILE.py:FUNCTION", help="Builds a bare state dict's module."
)
@click.option(
    "--exporter",
    type=click.Choice([v.value for v in Exporter]),
    default=Exporter.AUTO.value,
    show_default=True,
    help="Of PyTorch, where a network is converted; auto takes the first that is right.",
)
@click.option("--importer", default="", help="Plug-in; without it, the one that knows the file.")
@click.option(
    "--trust",
    is_flag=True,
    help="You vouch for the file: what no allow-list knows is opened, in the sandbox. Recorded.",
)
@click.option(
    "--runtime",
    type=click.Choice([v.value for v in Runtime]),
    default=Runtime.CONVERT.value,
    show_default=True,
    help="native: keep it as it is, run by its own framework in a process of its own.",
)
@click.option(
    "--steps", type=click.Path(path_type=Path), help="yaml or json: what runs before the model."
)
@click.option(
    "--ragged",
    default="",
    metavar="MASK[:AXIS][,INPUT=VALUE]",
    help="Requests of different lengths share calls, filled up behind this mask input.",
)
@click.option(
    "--accept-difference", is_flag=True, help="Record a failed parity check, do not refuse."
)
@click.option("--tag", "tags", multiple=True, help="A free word; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@click.option("--parent", default="", metavar="NAME:VERSION", help="What it was made from.")
@click.option("--run", default="", help="Name of the training run.")
@click.option("--data-digest", default="", help="Of the training data.")
@click.option("--alias", default="", help="Point this alias at the new version, at once.")
@json_option
def import_model(  # noqa: PLR0913, PLR0917 - one parameter an option
    file: Path,
    name: str,
    sample: Path | None,
    bump: str | None,
    exact: str,
    inputs: tuple[str, ...],
    layout: str | None,
    factory: str,
    exporter: str,
    importer: str,
    trust: bool,
    runtime: str,
    steps: Path | None,
    ragged: str,
    accept_difference: bool,
    tags: tuple[str, ...],
    labels: tuple[str, ...],
    parent: str,
    run: str,
    data_digest: str,
    alias: str,
    as_json: bool,
) -> None:
    """Bring a model FILE in: convert it, check it, register it. Prints NAME:VERSION.

    Files that can run code (pickle, joblib, .pt) are opened in a sandbox, by an allow-list.

    \b
    modelworks import model.joblib --name fraud --sample rows.csv
    modelworks import net.pt2 --name digits --bump major --alias champion
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if bump and exact:
        raise click.UsageError("--bump and --version exclude each other")
    for path, field in ((file, "file"), (sample, "sample"), (steps, "steps")):
        if path is not None and path == Path():  # an empty variable of a script
            raise InvalidError(f"{field}: name a file, or a folder by its name", field=field)
        if path is not None and not path.exists():
            raise NotFoundError(f"no file {path}", field=field)
    options = ImportOptions(
        importer=importer,
        sample=sample,
        inputs=tuple(parse_input(text) for text in inputs),
        layout=Layout(layout) if layout else None,
        factory=factory,
        trust=trust,
        runtime=Runtime(runtime),
        steps=steps,
        ragged=parse_ragged(ragged),
        accept_difference=accept_difference,
        exporter=Exporter(exporter),
    )
    request = ImportRequest(
        file=file,
        name=model_name(name),
        version=Semver.parse(exact) if exact else None,
        bump=Bump(bump) if bump else None,
        options=options,
        parent=parent,
        run=run,
        data_digest=data_digest,
        tags=tags,
        labels=pairs(labels),
        alias=alias_name(alias) if alias else "",
    )
    _run(request, Output(as_json=as_json))


def _run(request: ImportRequest, out: Output) -> None:
    with control() as transport, out.progress() as say:
        version = transport.import_model(request, say)
    if out.as_json:
        out.document(document(version))
        return
    _findings(version, out)
    out.line(version.ref)


def _findings(version: ModelVersion, out: Output) -> None:
    for evidence in version.evidence:
        out.note(f"{evidence.kind:<12}{evidence.verdict.value:<10}{evidence.summary}")


def parse_input(text: str) -> TensorSpec:
    """Read `x:FP32[-1,30]`; -1 is a dynamic axis.

    Raises:
        InvalidError: another form, or no such datatype.
    """
    match = _INPUT.fullmatch(text)
    if match is None:
        raise InvalidError(
            f"'{text}' is no input: write it as x:FP32[-1,30], -1 for a dynamic axis",
            field="inputs",
        )
    try:
        datatype = Datatype(match["type"].upper())
        axes = [int(axis) for axis in match["shape"].split(",") if axis.strip()]
    except ValueError as error:
        raise InvalidError(
            f"'{text}': {error}; datatypes are {', '.join(Datatype)}", field="inputs"
        ) from error
    if any(axis < -1 or axis == 0 for axis in axes):
        raise InvalidError(f"'{text}': axes are -1 or at least 1", field="inputs")
    return TensorSpec(match["name"], datatype, tuple(None if a == -1 else a for a in axes))
