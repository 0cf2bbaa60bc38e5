"""`observability`: what other systems need to watch an installation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option, platform, settings
from modelworks.cli.output import Output

if TYPE_CHECKING:
    from modelworks.control.observability.prometheus import Watched

SYSTEMS = ("prometheus", "alertmanager", "grafana", "elastic", "otel")


@click.group()
def observability() -> None:
    """Write configuration for Prometheus, Alertmanager, Grafana, Elastic and OpenTelemetry.

    Example: modelworks observability init prometheus -o monitoring
    """


@observability.command()
@click.argument("system", type=click.Choice(SYSTEMS))
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path))
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="Model server to scrape; may be repeated (those that run here).",
)
@click.option(
    "--control", "controls", multiple=True, metavar="URL", help="Control plane to scrape."
)
@click.option("--key-file", default="", metavar="FILE", help="With an API key for --control.")
@click.option("--alertmanager", default="", metavar="HOST:PORT", help="Whom Prometheus tells.")
@click.option("--webhook", default="", metavar="URL", help="Whom Alertmanager calls.")
@click.option(
    "--prometheus-url",
    default="http://127.0.0.1:9090",
    show_default=True,
    metavar="URL",
    help="That Grafana asks.",
)
@click.option("--force", is_flag=True, help="Replace files that were changed by hand, too.")
@json_option
def init(  # noqa: PLR0913, PLR0917 - click's parameters
    system: str,
    folder: Path,
    servers: tuple[str, ...],
    controls: tuple[str, ...],
    key_file: str,
    alertmanager: str,
    webhook: str,
    prometheus_url: str,
    force: bool,
    as_json: bool,
) -> None:
    """Write the files of SYSTEM into a folder.

    Written again, files come up to date; one that somebody has changed is not touched without
    --force, and then nothing is written at all.

    Example: modelworks observability init grafana -o monitoring/grafana
    """
    with platform("observability init"):
        from modelworks.control.observability.files import write_files
        from modelworks.control.observability.prometheus import Watched

    out = Output(as_json=as_json)
    home = settings().home
    if not servers:
        from modelworks.client.endpoints import listed

        servers = tuple(endpoint.url for endpoint in listed(home))
    watched = Watched(servers, controls, alertmanager, webhook, key_file, prometheus_url)
    written = write_files(folder, _texts(system, watched, home.logs), force=force)
    if as_json:
        return out.document({"folder": str(folder), "files": written})
    out.table(
        ("file", "outcome"), [(str(folder / one.path), one.outcome.value) for one in written], ""
    )
    if system == "prometheus" and not servers:
        out.note("no model server runs here: name those to scrape with --server URL")
    return None


def _texts(system: str, watched: "Watched", logs: Path) -> dict[str, str]:
    """The files of one system."""
    with platform("observability init"):
        from modelworks.control.observability import elastic, grafana, otel, prometheus

    match system:
        case "prometheus":
            return prometheus.prometheus(watched)
        case "alertmanager":
            return prometheus.alertmanager(watched)
        case "grafana":
            return grafana.grafana(watched)
        case "elastic":
            return elastic.elastic(logs.absolute())
        case _:
            return otel.otel()
