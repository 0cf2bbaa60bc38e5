"""`verify`, `delete`, `collect`: keeping the store whole and small."""

import click

from modelworks.cli import human
from modelworks.cli.context import control, deploying, interactive, json_option
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import contents, file_options
from modelworks.cli.output import Output
from modelworks.core.reference import parse_ref


@click.command()
@click.argument("ref", required=False)
@click.option("--all", "everything", is_flag=True, help="Every version of every model.")
@json_option
def verify(ref: str | None, everything: bool, as_json: bool) -> int:
    """Read every stored file of REF and compare it with its digest.

    Ends with exit code 8 when something is not what was stored.

    Examples: modelworks verify fraud:1.4.0; modelworks verify --all
    """
    if (ref is None) == (not everything):
        raise click.UsageError("give a reference such as fraud:1.4.0, or --all")
    out = Output(as_json=as_json)
    with control() as transport, out.progress() as say:
        if ref is not None:
            refs = [ref]
        else:
            names = [model.name for model in transport.models()]
            refs = [version.ref for name in names for version in transport.versions(name)]
        results = []
        for position, one in enumerate(refs, 1):
            say(f"verifying {one} ({position} of {len(refs)})")
            results.append(transport.verify(one))
    if as_json:
        out.document(results if everything else results[0])
    else:
        for result in results:
            state = "ok" if result.ok else "CORRUPT"
            out.line(f"{result.ref}  {state}  {human.count(result.files, 'file')}")
            for problem in result.problems:
                out.line(f"  {problem}")
        if not results:
            out.note("nothing is stored")
    return Exit.OK if all(result.ok for result in results) else Exit.CORRUPT


@click.command()
@click.argument("ref", required=False)
@click.option("--deployment", "deployments", multiple=True, metavar="NAME", help="End it.")
@file_options
@click.option("--forget", is_flag=True, help="Deployments whose target is gone for ever.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def delete(
    ref: str | None,
    deployments: tuple[str, ...],
    files: tuple[str, ...],
    environment: str,
    forget: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete a version, a model (bare NAME), a variant (#NAME); or end deployments.

    A version is refused while an alias points at it, another version names it as parent, or a
    deployment may run it; a variant while a deployment may run it, or a server here was told to
    serve it by name. Files stay until `modelworks collect`. A deployment that is ended
    answers what it has first, and nothing of it stays; with --forget its target is not asked.

    Examples: modelworks delete fraud:1.3.0; modelworks delete fraud:1.4.0#int8;
    modelworks delete -f modelworks.yaml --yes
    """
    out = Output(as_json=as_json)
    if sum((ref is not None, bool(deployments), bool(files))) != 1:
        raise click.UsageError("give a reference such as fraud:1.3.0, --deployment NAME or -f FILE")
    if ref is None:
        return _end(out, deployments, _read(files, environment), forget=forget, yes=yes)
    wanted = parse_ref(ref, variants=True)
    with control() as transport:
        if not yes:
            whole = wanted.version is None and wanted.alias is None and not wanted.variant
            one = str(wanted.of_version)
            doomed = transport.versions(wanted.name) if whole else [transport.show(one)]
            form = f"#{wanted.variant}" if wanted.variant else ""
            _agreed(out, ", ".join(f"{version.ref}{form}" for version in doomed))
        deleted = transport.delete(ref)
    if as_json:
        return out.document({"deleted": deleted})
    for name in deleted:
        out.line(f"deleted {name}")
    return out.note("its files go with: modelworks collect")


def _read(files: tuple[str, ...], environment: str) -> tuple[list[tuple[str, bytes]], str]:
    return contents(files) if files else [], environment


def _end(
    out: Output,
    names: tuple[str, ...],
    read: tuple[list[tuple[str, bytes]], str],
    *,
    forget: bool,
    yes: bool,
) -> None:
    with deploying() as verbs:
        deployments, routes = verbs.names(*read) if read[0] else (list(names), [])
        doomed = [f"route {name}" for name in routes]
        doomed += [f"deployment {name}" for name in deployments]
        if not yes:
            _agreed(out, ", ".join(doomed))
        with out.progress() as say:
            for name in routes:
                verbs.delete_route(name)
            for name in deployments:
                verbs.delete(name, say, forget=forget)
    if out.as_json:
        return out.document({"deleted": doomed})
    for name in doomed:
        out.line(f"deleted {name}")
    return None


def _agreed(out: Output, doomed: str) -> None:
    if out.as_json or not interactive():
        raise click.UsageError(f"this would delete {doomed}: say --yes")
    click.confirm(f"Delete {doomed}?", abort=True, err=True)


@click.command()
@json_option
def collect(as_json: bool) -> None:
    """Remove stored files that no version needs.

    Example: modelworks collect
    """
    out = Output(as_json=as_json)
    with control() as transport, out.progress() as say:
        say("looking for files that nothing refers to")
        done = transport.collect()
    if as_json:
        return out.document(done)
    return out.line(f"removed {human.count(done.blobs, 'file')}, {human.size(done.bytes)}")
