"""`backup`, `restore`: the whole installation as one file, and back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.apps.embed import local
from modelworks.cli import human
from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError
from modelworks.core.ids import iso

if TYPE_CHECKING:
    from modelworks.control.backup import Manifest
    from modelworks.control.service import Factory

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("into", type=_FILE)
@click.option("--verify", is_flag=True, help="Make nothing: read the backup INTO to its end.")
@click.option("--digest", default="", help="With --verify: refuse another backup than this one.")
@json_option
def backup(into: Path, verify: bool, digest: str, as_json: bool) -> None:
    """Write all models, versions, aliases, deployments, history and files into the file INTO.

    A folder gets a file named by the time. Others may publish meanwhile: what is written is one
    state. Keep the digest that is printed elsewhere: it proves that nobody changed the file.

    Examples: modelworks backup /backups; modelworks backup --verify /backups/monday.tar
    """
    if digest and not verify:
        raise click.UsageError("--digest goes with --verify")
    out = Output(as_json=as_json)
    if verify:
        with platform("a backup"):
            from modelworks.control.backup import look
        with out.progress() as say:
            found = look(into, say, digest)
        _told(out, into, found, "whole")
        return
    with _here() as factory, out.progress() as say:
        path, made = factory.backup(into, say)
    _told(out, path, made, "made")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--digest", default="", help="Refuse another backup than this one.")
@json_option
def restore(file: Path, digest: str, as_json: bool) -> None:
    """Fill this installation, which must be empty, from the backup FILE.

    Nothing is visible before every byte was compared with its digest. When it fails or is killed,
    the installation is still empty: cure it, and run the same command again.

    Example: MODELWORKS_HOME=/srv/modelworks modelworks restore /backups/monday.tar
    """
    out = Output(as_json=as_json)
    with platform("a backup"):
        from modelworks.control.backup import head
    head(file)  # what is no backup makes no folders here
    with _here() as factory, out.progress() as say:
        found = factory.restore(file, say, digest)
    _told(out, file, found, "restored")


def _here() -> "Factory":
    """The registry in this process.

    Raises:
        InvalidError: the environment names one behind a control plane.
    """
    found = settings()
    if found.url:
        raise InvalidError(
            "a backup is made and restored where the registry is: unset MODELWORKS_URL, or run it "
            "there",
            field="MODELWORKS_URL",
        )
    return local(found.home, found.stores, found.limits)


def _told(out: Output, path: Path, found: "Manifest", what: str) -> None:
    models, versions = found.rows("models"), found.rows("versions")
    if out.as_json:
        out.document(
            {
                "file": str(path),
                "digest": found.digest,
                "made": iso(found.made_ns),
                "schema": found.schema,
                "models": models,
                "versions": versions,
                "deployments": found.rows("deployments"),
                "files": found.files.lines,
                "bytes": found.stored,
            }
        )
        return
    out.line(f"{what}  {path}")
    out.line(
        f"  {human.count(models, 'model')}, {human.count(versions, 'version')}, "
        f"{human.count(found.files.lines, 'file')} of {human.size(found.stored)}, "
        f"as it was at {iso(found.made_ns)}"
    )
    out.line(f"  {found.digest}")
