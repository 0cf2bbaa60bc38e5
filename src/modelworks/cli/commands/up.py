"""`up`: the whole factory on this machine, in the foreground."""

import os
from urllib.parse import urlsplit

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.cli.recording import Recording, recording_options
from modelworks.cli.workers import WORKERS, WORKERS_HELP
from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.variants import SOURCE
from modelworks.core.optimizing.wanted import GOALS


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--control-port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default="1", show_default=True, type=WORKERS, help=WORKERS_HELP)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="A name or address under which browsers elsewhere open the console; may be repeated.",
)
@click.option("--keys", default="", metavar="FILE", help="API keys that both ask for.")
@click.option("--tls-cert", default="", metavar="PEM", help="Certificate of both: speak HTTPS.")
@click.option("--tls-key", default="", metavar="PEM", help="Its key (in the same file).")
@click.option("--database", default="", metavar="URL", help="Instead of MODELWORKS_DATABASE.")
@click.option("--artifacts", default="", metavar="URL", help="Instead of MODELWORKS_ARTIFACTS.")
@click.option("--watch/--no-watch", "watch", default=True, help="A worker that watches (it does).")
@click.option(
    "--window",
    default=3600,
    show_default=True,
    type=click.IntRange(60, 3600),
    metavar="S",
    help="Windows of drift, seconds; a divisor of 3600.",
)
@click.option(
    "--address",
    default="",
    metavar="NAME",
    help="Of this machine, for gateways on others.",
)
@click.option(
    "--gateways",
    default="",
    metavar="URL,...",
    help="Admin addresses of gateways on other machines.",
)
@click.option(
    "--variant",
    type=click.Choice([SOURCE, *GOALS]),
    default=SOURCE,
    show_default=True,
    help="Which form of every version: as imported, or its best variant for this machine.",
)
@recording_options
@json_option
def up(  # noqa: PLR0913, PLR0917 - click's way: an option is an argument
    host: str,
    port: int,
    control_port: int,
    workers: str,
    allowed: tuple[str, ...],
    keys: str,
    tls_cert: str,
    tls_key: str,
    database: str,
    artifacts: str,
    watch: bool,
    window: int,
    address: str,
    gateways: str,
    variant: str,
    recording: Recording,
    as_json: bool,
) -> None:
    """Run control plane, console and model server here until Ctrl-C or SIGTERM.

    Both are watched: one that ends by itself is started again. On the way out both finish the
    requests under way. With --json one document is printed once both are ready.

    The control plane answers to this machine's own names and to --host; a browser that reaches it
    under another one is refused unless --allow-host names it.

    Where others reach it, give --keys (see modelworks keys) and --tls-cert: else everybody can
    change the registry and unload models.

    The registry is in the data folder unless --database and --artifacts name a PostgreSQL server
    and a bucket. A password is better kept in MODELWORKS_DATABASE: others may see a command line.

    Requests are recorded as --record, --record-policy and the models' own policies say; see
    modelworks records.

    Beside them a worker watches: requests and latencies, drift, alerts, the machine. See
    modelworks watch. It counts what gateways of this data folder say; those of other machines are
    named by --gateways, and are told --address where they would be told 127.0.0.1.

    With --variant fastest each version is served in the form that answers soonest here, once
    modelworks optimize has found one; the control plane's log says which, and why.

    Example: modelworks up --port 8000 --control-port 8080
    """
    from modelworks.apps.exposure import exposure
    from modelworks.apps.stores import stores_of
    from modelworks.apps.up import Running, UpSettings, run
    from modelworks.control.front.gateways import addresses

    out = Output(as_json=as_json)
    for name in allowed:
        _check(name)
    if address:
        _check(address, "--address")
    if 3600 % window:
        raise InvalidError(
            f"--window {window}: an hour is no whole number of these", field="window"
        )

    def ready(running: Running) -> None:
        if as_json:
            out.document({"control": running.control, "server": running.server})
            return
        out.line(f"console  {running.control}")
        out.line(f"server   {running.server}")
        out.note("Ctrl-C ends both")

    stores = stores_of(os.environ, database, artifacts)
    guard = (keys, tls_cert, tls_key)
    home = settings().home
    wanted = UpSettings(
        home,
        host,
        control_port,
        port,
        workers,
        allowed,
        stores,
        *guard,
        watch,
        window,
        tuple(recording.arguments(home.records)),
        addresses(gateways),
        address,
        variant,
    )
    harm = "change the registry, use and unload the models"
    if warning := exposure(host, harm, keys=bool(keys), tls=bool(tls_cert)):
        out.note(warning)
    run(wanted, ready, out.note)
    out.note("drained; bye")


def _check(name: str, option: str = "--allow-host") -> None:
    """Refuse what can be no name in a browser's address: it would silently match nothing.

    Raises:
        InvalidError: a URL, a port behind it, or no name at all.
    """
    try:
        found = urlsplit(f"//[{name}]" if ":" in name else f"//{name}").hostname
    except ValueError:
        found = None
    if not name or found != name.lower():
        raise InvalidError(
            f"{option} {name!r}: a bare name or address is wanted, such as box.lan",
            field=option.removeprefix("--"),
        )
