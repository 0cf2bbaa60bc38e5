"""`predict`: rows to a running server, answers back."""

import json
from pathlib import Path

import click

from modelworks.cli.context import json_option, settings
from modelworks.cli.output import Output
from modelworks.cli.rows import read_csv, read_rows
from modelworks.client.data import DataPlane
from modelworks.client.tls import ClientTls
from modelworks.core.reference import parse_ref


@click.command()
@click.argument("model")
@click.option("--url", default="", help="Of the model server (default MODELWORKS_SERVER).")
@click.option("--rows", default="", metavar="JSON|@FILE|-", help="Rows: JSON, a file, or stdin.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="A csv file with a head.")
@click.option("--ca", default="", help="Authorities of an https server (MODELWORKS_CA).")
@click.option("--client-cert", default="", help="To show it (MODELWORKS_CLIENT_CERT).")
@click.option("--client-key", default="", help="Of --client-cert (MODELWORKS_CLIENT_KEY).")
@json_option
def predict(  # noqa: PLR0913, PLR0917 - click's parameters
    model: str,
    url: str,
    rows: str,
    table: Path | None,
    ca: str,
    client_cert: str,
    client_key: str,
    as_json: bool,
) -> None:
    """Ask a running server for predictions; one line of JSON a row.

    MODEL is a name, NAME@ALIAS or NAME:VERSION. A server that asks for an API key gets that of
    MODELWORKS_KEY.

    \b
    modelworks predict fraud --rows '[{"age": 41, "income": 52000}]'
    modelworks predict fraud@champion --csv rows.csv
    modelworks predict fraud --url unix:///run/models.sock --rows @rows.json
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    if bool(rows) == (table is not None):
        raise click.UsageError("give --rows or --csv, one of them")
    out = Output(as_json=as_json)
    parse_ref(model)
    found_settings = settings()
    tls = found_settings.tls
    given = ClientTls(ca or tls.ca, client_cert or tls.certificate, client_key or tls.key)
    plane = DataPlane(url or found_settings.server, given, found_settings.key)
    try:
        found = read_csv(table, text_columns(plane, model)) if table else read_rows(rows)
        answer = plane.predict(model, found)
    finally:
        plane.close()
    if as_json:
        return out.document(answer)
    for row in answer["predictions"]:
        out.line(json.dumps(row, ensure_ascii=False))
    return None


def text_columns(plane: DataPlane, model: str) -> set[str]:
    """The inputs that the model takes as text (`BYTES`), by name."""
    return {spec["name"] for spec in plane.metadata(model)["inputs"] if spec["datatype"] == "BYTES"}
