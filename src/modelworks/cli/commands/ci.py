"""`ci`: pipelines that deploy from a manifest."""

from pathlib import Path

import click

from modelworks.cli.ci.pipeline import FILES, Holes, pipeline
from modelworks.cli.context import json_option
from modelworks.cli.output import Output
from modelworks.core.errors import ConflictError, InvalidError

_USUAL = Holes()


@click.group()
def ci() -> None:
    """Write pipelines for CI systems.

    Example: modelworks ci init github --print
    """


@ci.command()
@click.argument("system", type=click.Choice(list(FILES)))
@click.option("--manifest", default=_USUAL.manifest, show_default=True, help="In the repository.")
@click.option(
    "--environment", "-e", default=_USUAL.environment, show_default=True, help="That it deploys to."
)
@click.option("--branch", default=_USUAL.branch, show_default=True, help="That is deployed.")
@click.option(
    "--repository", default=_USUAL.repository, show_default=True, help="Of container images."
)
@click.option("--base", default=_USUAL.base, show_default=True, help="Image that they stand on.")
@click.option("--python", default=_USUAL.python, show_default=True, help="Version in the jobs.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--print", "show", is_flag=True, help="Print it and write nothing.")
@json_option
def init(  # noqa: PLR0913, PLR0917 - click's parameters
    system: str,
    manifest: str,
    environment: str,
    branch: str,
    repository: str,
    base: str,
    python: str,
    force: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Write the pipeline of SYSTEM here: lint, plan as a comment, test, package, deploy.

    A person approves before anything is deployed. The file says at its top which secrets it wants.

    Example: modelworks ci init github --repository registry.example.com/team/models
    """
    out = Output(as_json=as_json)
    text = pipeline(system, Holes(manifest, environment, branch, repository, base, python))
    path = Path(FILES[system])
    if show:
        if as_json:
            return out.document({"file": str(path), "content": text})
        for line in text.splitlines():
            out.line(line)
        return None
    if path.exists() and not force:
        raise ConflictError(
            f"{path} exists: --force replaces it, --print shows what would be written"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}") from error
    if as_json:
        return out.document({"file": str(path)})
    out.line(f"wrote {path}")
    return out.note("the secrets that it wants stand at its top")
