"""`plan`, `diff`, `apply`, `export`: from a manifest to what runs."""

from pathlib import Path

import click

from modelworks.cli import human
from modelworks.cli.context import deploying, interactive, json_option
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import contents, file_options
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.deployment import Support
from modelworks.core.desired import State
from modelworks.core.errors import ConflictError, InvalidError
from modelworks.core.plans import Act, Exported, Plan, Planned

_SHORT = 60


@click.command()
@file_options
@click.option("--all", "everything", is_flag=True, help="Show every field, defaults too.")
@json_option
def plan(files: tuple[str, ...], environment: str, everything: bool, as_json: bool) -> int:
    """Say what `apply` would do, and what becomes of every field; nothing is changed.

    Each field is honoured, emulated (and how) or refused (and why): none is ignored.

    Examples: modelworks plan; modelworks plan -f modelworks.yaml -e production
    """
    out = Output(as_json=as_json)
    with deploying() as verbs:
        found = verbs.plan(contents(files), environment)
    if as_json:
        out.document({"ok": found.ok, **codec.encode(found)})
    else:
        for one in found.documents:
            _show(out, one, everything=everything)
    return Exit.OK if found.ok else Exit.INVALID


@click.command()
@file_options
@json_option
def diff(files: tuple[str, ...], environment: str, as_json: bool) -> int:
    """Show what would change: fields, and the target's own objects; 0 where nothing would.

    What somebody changed on the target, past Modelworks, is shown too.

    Example: modelworks diff -f modelworks.yaml
    """
    out = Output(as_json=as_json)
    with deploying() as verbs:
        found = verbs.plan(contents(files), environment)
    same = all(one.act is Act.UNCHANGED for one in found.documents)
    if as_json:
        keep = ("kind", "name", "act", "changes", "outside", "native")
        documents = [codec.encode(one) for one in found.documents]
        told = [{key: one[key] for key in keep} for one in documents]
        out.document({"same": same, "documents": told})
        return Exit.OK if same else Exit.CONFLICT
    for one in found.documents:
        if one.act is Act.UNCHANGED:
            out.note(f"{one.kind} {one.name}: nothing changes")
            continue
        out.line(f"{one.kind} {one.name} on {one.target}: {one.act}")
        _changes(out, one)
        for line in one.native.splitlines():
            out.line(line)
    return Exit.OK if same else Exit.CONFLICT


@click.command()
@file_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def apply(files: tuple[str, ...], environment: str, yes: bool, as_json: bool) -> int:
    """Make it so, and wait until it is: twice changes nothing.

    A new revision takes over when it is ready; one that fails leaves the old one as it was.

    Examples: modelworks apply; modelworks apply -f modelworks.yaml -e production --yes
    """
    out = Output(as_json=as_json)
    read = contents(files)
    with deploying() as verbs:
        if not yes and interactive() and not as_json:
            _agreed(out, verbs.plan(read, environment))
        with out.progress() as say:
            done = verbs.apply(read, environment, say)
    if as_json:
        out.document({"ok": all(one.state is State.READY for one in done), "documents": done})
    for one in done:
        where = f" at {one.url}" if one.url else ""
        message = f": {one.message}" if one.message else ""
        if not as_json:
            out.line(
                f"{one.name}: {one.state}, revision {one.serving or one.revision}{where}{message}"
            )
    return Exit.OK if all(one.state is State.READY for one in done) else Exit.UNAVAILABLE


@click.command()
@file_options
@click.option("--deployment", "name", default="", help="One as it was asked for last, no manifest.")
@click.option("--output", "-o", "folder", type=click.Path(path_type=Path), help="Folder to write.")
@json_option
def export(
    files: tuple[str, ...], environment: str, name: str, folder: Path | None, as_json: bool
) -> None:
    """Write the target's own objects, to be kept in git and applied by others (Argo CD, Flux).

    Without a folder they are printed. Files that are there are replaced; nothing else is touched.

    Examples: modelworks export -o manifests/; modelworks export --deployment fraud
    """
    out = Output(as_json=as_json)
    if name and files:
        raise InvalidError("--deployment and --file exclude each other", field="deployment")
    with deploying() as verbs:
        found = [verbs.exported(name)] if name else verbs.export(contents(files), environment)
    if folder is not None:
        _kept(out, found, folder)
    elif as_json:
        out.document(found)
    else:
        _printed(out, found)


def _kept(out: Output, found: list[Exported], folder: Path) -> None:
    written = []
    for one in found:
        for file in one.files:
            path = folder / one.name / file.path
            _write(path, file.text)
            written.append(str(path))
    if out.as_json:
        return out.document({"files": written})
    for name in written:
        out.line(name)
    return None


def _printed(out: Output, found: list[Exported]) -> None:
    for one in found:
        for file in one.files:
            out.line(f"# {one.name}/{file.path}")
            for line in file.text.splitlines():
                out.line(line)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}", field="output") from error


def _agreed(out: Output, found: Plan) -> None:
    for one in found.documents:
        _show(out, one, everything=False)
    if not found.ok or all(one.act is Act.UNCHANGED for one in found.documents):
        return  # the first is refused with its reasons, the second does nothing
    if not click.confirm("Apply it?", err=True):
        raise ConflictError("nothing was applied")


def _show(out: Output, one: Planned, *, everything: bool) -> None:
    what = f"{one.kind} {one.name} on {one.target}: {one.act}"
    revision = f"revision {one.revision}" if one.revision else "a new revision"
    out.line(f"{what}, {one.model} as {revision}" if one.model else what)
    for note in one.notes:
        out.line(f"  note: {note}")
    _changes(out, one)
    rows = [
        [answer.support.value, answer.path, _value(answer.value), answer.how]
        for answer in one.answers
        if everything or not answer.plain or answer.support is Support.REFUSED
    ]
    for line in human.aligned(["", "field", "value", "how"], rows):
        out.line(f"  {line}")


def _changes(out: Output, one: Planned) -> None:
    for change in one.changes:
        out.line(f"  {change.path}: {_value(change.before)} -> {_value(change.after)}")
    for line in one.outside:
        out.line(f"  changed from outside: {line}")


def _value(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."
