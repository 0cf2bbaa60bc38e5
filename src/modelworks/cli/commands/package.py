"""`package`: a version as a container image, without a container engine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.apps.embed import local
from modelworks.cli import human
from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.core.errors import UnsupportedError
from modelworks.packaging.logins import login_file

if TYPE_CHECKING:
    from modelworks.control.package import Packaged

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("ref")
@click.option("--base", default="", metavar="IMAGE", help="What the image stands on; see below.")
@click.option("--output", "-o", type=_PATH, help="Write an OCI layout (folder), or a .tar file.")
@click.option("--push", default="", metavar="REPOSITORY", help="Push the image to a registry.")
@click.option("--dockerfile", type=_PATH, metavar="DIR", help="Write a Dockerfile and its context.")
@click.option(
    "--model-artifact",
    default="",
    metavar="REPOSITORY",
    help="Push the model's files as an OCI artifact of their own.",
)
@click.option("--wheels", type=_PATH, metavar="DIR", help="Take the libraries from here, offline.")
@json_option
def package(  # noqa: PLR0913, PLR0917 - click's parameters
    ref: str,
    base: str,
    output: Path | None,
    push: str,
    dockerfile: Path | None,
    model_artifact: str,
    wheels: Path | None,
    as_json: bool,
) -> None:
    """Make a container image of a version; no container engine is needed.

    --base is an OCI layout's folder, a file of `docker save` or `skopeo copy`, or a reference that
    names its registry. It has python3 and glibc, and nothing of it is run. The same inputs make
    the same image, bit for bit. With --dockerfile it is what FROM says.

    \b
    modelworks package fraud@champion --base python.tar --output fraud.tar
    modelworks package fraud:1.4.0 --base python.tar --push registry.example.com/models/fraud
    modelworks package fraud --dockerfile build/ && docker build --network=none build/
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    found, out = settings(), Output(as_json=as_json)
    if found.url:
        raise UnsupportedError(
            "package reads the registry on this machine: unset MODELWORKS_URL, or run it there",
            field="MODELWORKS_URL",
        )
    factory = local(found.home, found.stores)
    from modelworks.control.package import Packaging

    asked = Packaging(base, output, push, dockerfile, model_artifact, wheels, login_file())
    with factory, out.progress() as say:
        made = factory.package(ref, asked, say)
    if as_json:
        out.document(made)
        return
    for line in _lines(made):
        out.line(line)


def _lines(made: "Packaged") -> list[str]:
    told = [made.ref]
    if made.digest:
        beyond = f"{human.size(made.size)} beyond its base"
        told.append(f"  image       {made.digest} ({beyond}{', made before' * made.known})")
    if made.output:
        told.append(f"  written     {made.output} as {made.name}")
    if made.image:
        told.append(f"  pushed      {made.image}")
    if made.dockerfile:
        told.append(
            f"  context     {made.dockerfile}: docker build --network=none {made.dockerfile}"
        )
    if made.artifact:
        told.append(f"  artifact    {made.artifact}")
    return told
