"""`graph`: models that answer together, checked and kept as versions."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelworks.cli.context import here, json_option, platform
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError

if TYPE_CHECKING:
    from modelworks.control.graphs import Known
    from modelworks.core.tensor import TensorSpec

_WHY = "graphs are checked against the registry"
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def graph() -> None:
    """Check graphs of models, and keep them as versions that are served as models are.

    \b
    modelworks graph check triage.yaml
    modelworks graph add triage.yaml --alias champion
    modelworks serve triage
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped


@graph.command()
@_file
@json_option
def check(file: Path, as_json: bool) -> None:
    """Say whether the models of the registry can run a graph, what it takes and gives.

    Example: modelworks graph check triage.yaml
    """
    out = Output(as_json=as_json)
    with here(_WHY) as factory, _placed(file) as values:
        found = factory.check_graph(values)
    if as_json:
        out.document(_document(found))
        return
    out.table(("step", "is", "version"), found.steps(), "no step")
    signature = found.checked.signature
    out.line(f"takes {', '.join(map(_words, signature.inputs))}")
    out.line(f"gives {', '.join(map(_words, signature.outputs))}")


@graph.command()
@_file
@click.option("--alias", default="", help="Point this alias at the new version, at once.")
@json_option
def add(file: Path, alias: str, as_json: bool) -> None:
    """Keep a graph as a new version under its own name; `up` and `serve` then serve it.

    Example: modelworks graph add triage.yaml --alias champion
    """
    from modelworks.core.codec import encode

    out = Output(as_json=as_json)
    with here(_WHY) as factory, _placed(file) as values:
        version = factory.add_graph(values, file.name, alias)
    if as_json:
        out.document(encode(version))
        return
    out.line(f"{version.ref}: {version.evidence[0].summary}")


@contextmanager
def _placed(file: Path) -> Iterator[Any]:
    """What a file declares; of an error in it, the line too.

    Raises:
        NotFoundError: no such file.
        InvalidError: it is no file of one graph.
    """
    with platform("a graph's file"):
        from modelworks.protocol.manifest.tree import read
    try:
        documents = read(file.read_bytes(), str(file))
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {file}", field="file") from error
    except OSError as error:
        raise InvalidError(f"{file} cannot be read: {error.strerror}", field="file") from error
    if len(documents) != 1:
        raise InvalidError(f"{file} has {len(documents)} documents, and one graph is wanted")
    [document] = documents
    try:
        yield document.values
    except ModelworksError as error:
        if error.field is None or not error.field.startswith(("spec", "metadata", "kind", "api")):
            raise
        path = tuple(name or int(number) for name, number in _PART.findall(error.field))
        raise type(error)(f"{document.mark(path)}: {error.message}", field=error.field) from error


def _words(spec: "TensorSpec") -> str:
    axes = ", ".join("?" if axis is None else str(axis) for axis in spec.shape)
    return f"{spec.name} {spec.datatype} [{axes}]"


def _document(found: "Known") -> dict[str, Any]:
    from modelworks.core.codec import encode

    steps = [
        {"step": name, "is": what, "version": version or None}
        for name, what, version in found.steps()
    ]
    return {
        "graph": found.graph.name,
        "steps": steps,
        "signature": encode(found.checked.signature),
    }
