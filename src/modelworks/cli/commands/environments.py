"""`environments`: the Python environments that importers and native models have of their own."""

from pathlib import Path

import click

from modelworks.cli import human
from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.ids import now_ns
from modelworks.sandbox import environments as kept


@click.group()
def environments() -> None:
    """Show, make and remove the environments of libraries that clash with ours.

    An import makes what it needs by itself, once. `make` prepares a machine without a network.
    """


@environments.command("list")
@json_option
def listing(as_json: bool) -> None:
    """List every environment, what is in it and what it takes.

    Example: modelworks environments list
    """
    out = Output(as_json=as_json)
    found = kept.listed(settings().home.environments)
    if as_json:
        return out.document(found)
    now = now_ns()
    rows = [
        [
            one.name[:12],
            human.size(one.size_bytes),
            human.ago((now - one.made_ns) / 1e9),
            one.python,
            kept.short(one.requirements),
        ]
        for one in found
    ]
    columns = ("name", "size", "made", "python", "requirements")
    return out.table(columns, rows, "no environment was made yet")


@environments.command()
@click.argument("importer", required=False)
@click.option(
    "--requirements",
    "file",
    type=click.Path(path_type=Path),
    help="A file of requirement lines, instead of an importer's name.",
)
@click.option(
    "--wheels", type=click.Path(path_type=Path), help="Take everything from this folder, offline."
)
@click.option("--print", "show", is_flag=True, help="Print the requirement lines and make nothing.")
@json_option
def make(
    importer: str | None, file: Path | None, wheels: Path | None, show: bool, as_json: bool
) -> None:
    """Make the environment that IMPORTER reads its files in, or the one of a requirements file.

    Without a network: on a machine that has one, fill a folder by
    `modelworks environments make keras --print > wanted.txt`,
    `pip download --only-binary :all: --no-deps -d DIR -r wanted.txt`; then, here, --wheels DIR.

    Example: modelworks environments make keras --wheels /media/wheels
    """
    if (importer is None) == (file is None):
        raise click.UsageError("give the name of an importer, or --requirements FILE")
    if wheels is not None and not wheels.is_dir():
        raise NotFoundError(f"no folder {wheels}", field="wheels")
    out = Output(as_json=as_json)
    sets = _pinned(importer) if importer is not None else (_lines(file),)
    if show:
        lines = [line for lines in sets for line in lines if line != kept.WHOLE]
        if as_json:
            return out.document(lines)
        for line in lines:
            out.line(line)
        return None
    root = settings().home.create().environments
    with out.progress() as say:
        made = [kept.make(lines, root, say, wheels=wheels) for lines in sets]
    names = [python.parent.parent.name for python in made]
    if as_json:
        return out.document([one for one in kept.listed(root) if one.name in names])
    for name in names:
        out.line(name)
    return None


@environments.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every one of them.")
@json_option
def remove(names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Remove environments by NAME, or the first 8 characters of it.

    Whatever needs one makes it again; a model that is served right now may need it at once.

    Example: modelworks environments remove 5c505f794dcb
    """
    if bool(names) == everything:
        raise click.UsageError("name at least one environment, or say --all")
    out = Output(as_json=as_json)
    root = settings().home.environments
    wanted = [one.name for one in kept.listed(root)] if everything else list(names)
    removed = [kept.remove(name, root) for name in wanted]
    if as_json:
        return out.document(removed)
    for one in removed:
        out.line(f"removed {one.name}, {human.size(one.size_bytes)}")
    return None


def _pinned(importer: str) -> tuple[tuple[str, ...], ...]:
    """What an importer pins itself.

    Raises:
        NotFoundError: there is no such importer.
        InvalidError: it needs no environment of its own.
    """
    from modelworks.plugins.load import load

    pinned: tuple[tuple[str, ...], ...] = getattr(load("importers", importer), "pinned", ())
    if not pinned:
        raise InvalidError(
            f"the importer '{importer}' pins no environment of its own", field="importer"
        )
    return pinned


def _lines(file: Path | None) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8") if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file}: {error}", field="requirements") from error
    lines = kept.requirements(text.splitlines())
    if not lines:
        raise InvalidError(f"{file}: no requirement line in it", field="requirements")
    return lines
