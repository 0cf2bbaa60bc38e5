"""`manifest`: look at what is wanted before anything is done."""

import json
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import contents, refused
from modelworks.cli.output import Output

if TYPE_CHECKING:
    from modelworks.protocol.manifest import Manifest


@click.group()
def manifest() -> None:
    """Check manifests, and print their schema for editors."""


@manifest.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--environment", "-e", default="", help="Put the overlays of this environment on.")
@json_option
def lint(files: tuple[str, ...], environment: str, as_json: bool) -> int:
    """Check FILES (folders: their *.yaml; `-`: standard input) and say all that is wrong.

    Nothing is asked of a registry or a target: `fraud@champion` may not exist.

    Example: modelworks manifest lint modelworks.yaml --environment production
    """
    out = Output(as_json=as_json)
    with platform("a manifest"):
        from modelworks.protocol.manifest import ManifestError, load
    try:
        found = load(contents(files), environment)
    except ManifestError as error:
        return refused(out, error)
    _told(out, found)
    return Exit.OK


@manifest.command()
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of manifests: what editors complete and check by.

    Example: modelworks manifest schema > modelworks.schema.json
    """
    with platform("a manifest"):
        from modelworks.protocol.manifest import schema as made
    out = Output(as_json=as_json)
    if as_json:
        out.document(made())
        return
    for line in json.dumps(made(), indent=2).splitlines():
        out.line(line)


def _told(out: Output, found: "Manifest") -> None:
    names = [f"{kind} {name}" for kind, name in (one.key for one in found.documents)]
    if out.as_json:
        documents = [one.document.model_dump(mode="json") for one in found.documents]
        environments = list(found.environments)
        out.document({"ok": True, "documents": documents, "environments": environments})
    for name in names:
        out.note(f"good: {name}")
    others = [one for one in found.environments if one != found.environment]
    if others:
        out.note(f"not looked at: the overlays of {', '.join(others)} (--environment)")
