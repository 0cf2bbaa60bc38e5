"""`up`: the whole factory on this machine, in the foreground."""

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--control-port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256))
@json_option
def up(host: str, port: int, control_port: int, workers: int, as_json: bool) -> None:
    """Run control plane, console and model server here until Ctrl-C or SIGTERM.

    Both are watched: one that ends by itself is started again. On the way out both finish the
    requests under way. With --json one document is printed once both are ready.

    Example: modelworks up --port 8000 --control-port 8080
    """
    from modelworks.apps.up import Running, UpSettings, run

    out = Output(as_json=as_json)

    def ready(running: Running) -> None:
        if as_json:
            out.document({"control": running.control, "server": running.server})
            return
        out.line(f"console  {running.control}")
        out.line(f"server   {running.server}")
        out.note("Ctrl-C ends both")

    wanted = UpSettings(settings().home, host, control_port, port, workers)
    run(wanted, ready, out.note)
    out.note("drained; bye")
