"""`tag` and `label`: the two parts of a version that may change."""

import click

from modelworks.cli.context import control, json_option
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError
from modelworks.core.model import ModelVersion


@click.command()
@click.argument("ref")
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take a tag away; may be repeated.")
@json_option
def tag(ref: str, tags: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Add tags to a version, or remove them; without any, show them.

    Example: modelworks tag fraud:1.4.0 reviewed eu --remove draft
    """
    out = Output(as_json=as_json)
    with control() as transport:
        version = transport.show(ref)
        _known(remove, version.tags, "tag", version)
        kept = [t for t in version.tags if t not in remove]
        wanted = (*kept, *(t for t in dict.fromkeys(tags) if t not in kept))
        if wanted != version.tags:
            version = transport.annotate(version.ref, wanted, version.labels)
    _said(out, version)


@click.command()
@click.argument("ref")
@click.argument("labels", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--remove", multiple=True, metavar="KEY", help="Take a label away; may be repeated.")
@json_option
def label(ref: str, labels: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Set labels of a version, or remove them; without any, show them.

    Example: modelworks label fraud:1.4.0 environment=production experiment=q4
    """
    out = Output(as_json=as_json)
    given = pairs(labels)
    with control() as transport:
        version = transport.show(ref)
        _known(remove, tuple(version.labels), "label", version)
        wanted = {k: v for k, v in version.labels.items() if k not in remove} | given
        if wanted != version.labels:
            version = transport.annotate(version.ref, version.tags, wanted)
    _said(out, version)


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`("k=v", ...)` as a mapping.

    Raises:
        InvalidError: no equals sign, no key, or a key given twice with different values.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InvalidError(f"'{text}' is no label: write it as key=value", field="labels")
        if found.get(key, value) != value:
            raise InvalidError(f"label '{key}' is given twice, with two values", field="labels")
        found[key] = value
    return found


def _known(
    remove: tuple[str, ...], there: tuple[str, ...], what: str, version: ModelVersion
) -> None:
    for name in remove:
        if name not in there:
            raise InvalidError(f"{version.ref} has no {what} '{name}'", field="remove")


def _said(out: Output, version: ModelVersion) -> None:
    if out.as_json:
        out.document({"ref": version.ref, "tags": version.tags, "labels": version.labels})
        return
    out.line(version.ref)
    out.line(f"  tags      {', '.join(version.tags) or '-'}")
    shown = ", ".join(f"{k}={v}" for k, v in sorted(version.labels.items()))
    out.line(f"  labels    {shown or '-'}")
