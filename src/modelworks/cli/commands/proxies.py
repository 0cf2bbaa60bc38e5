"""`proxies`: routes as the configuration of a proxy that the user already runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from modelworks.core.routes import Snapshot

_MOST = 64 << 20  # bytes of a snapshot


@click.group()
def proxies() -> None:
    """Write routes for Envoy, HAProxy, nginx and Traefik.

    Example: modelworks proxies write haproxy --snapshot routes.json -o /etc/haproxy
    """


@proxies.command("list")
@json_option
def listing(as_json: bool) -> None:
    """List the proxies, and what each does with every field of a route.

    Example: modelworks proxies list --json
    """
    from modelworks.control.proxies.writing import writers

    out = Output(as_json=as_json)
    found = writers()
    if as_json:
        return out.document(
            [
                {
                    "name": one.name,
                    "program": one.program,
                    "experimental": one.experimental,
                    "start": one.start,
                    "reload": one.reload,
                    "fields": {
                        field: {"support": told.support.value, "how": told.how}
                        for field, told in one.capabilities.items()
                    },
                }
                for one in found
            ]
        )
    rows = [
        (one.name, field, told.support.value, told.how)
        for one in found
        for field, told in one.capabilities.items()
    ]
    out.table(("proxy", "field", "support", "how"), rows, "no proxy is known")
    return None


@proxies.command()
@click.argument("proxy")
@click.option(
    "--snapshot", "path", required=True, type=click.Path(path_type=Path), help="Of the routes."
)
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it takes requests.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--program", default="", metavar="PATH", help="The proxy, if it is not on the PATH.")
@click.option("--check/--no-check", default=True, help="Let the proxy itself read the files first.")
@json_option
def write(  # noqa: PLR0913, PLR0917 - click's parameters
    proxy: str,
    path: Path,
    folder: Path,
    host: str,
    port: int,
    program: str,
    check: bool,
    as_json: bool,
) -> None:
    """Write the configuration of PROXY into a folder.

    A field that the proxy cannot honour ends it with the reason, and nothing is written. The files
    are checked by the program itself before they take the place of those that are there.

    Example: modelworks proxies write envoy --snapshot routes.json -o envoy --port 8080
    """
    from modelworks.control.proxies.writing import checked, kept, writer_of, written
    from modelworks.core.proxies import Listen

    out = Output(as_json=as_json)
    writer = writer_of(proxy)
    files, answers = written(writer, _read(path), Listen(host, port))
    if check:
        checked(writer, files, program)
    paths = kept(files, folder)
    if as_json:
        told = [codec.encode(one) for one in answers if not one.plain]
        return out.document(
            {"files": [str(one) for one in paths], "checked": check, "fields": told}
        )
    rows = [
        (one.path, str(one.value), one.support.value, one.how) for one in answers if not one.plain
    ]
    out.table(("field", "value", "support", "how"), rows, "there are no routes")
    for one in paths:
        out.line(str(one))
    out.note(f"start: {writer.start}")
    out.note(f"a later change: {writer.reload}")
    return None


def _read(path: Path) -> "Snapshot":
    from modelworks.core.routes import Snapshot

    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}", field="--snapshot") from error
    if len(data) > _MOST:
        raise InvalidError(f"{path}: over {_MOST} bytes", field="--snapshot")
    try:
        told = json.loads(data)
    except ValueError as error:
        raise InvalidError(f"{path}: no JSON: {error}", field="--snapshot") from error
    return codec.decode(Snapshot, told)
