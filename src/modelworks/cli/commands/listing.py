"""`models`, `versions`, `show`, `compare`: what is registered."""

import json
import re
from typing import Any

import click

from modelworks.cli import human
from modelworks.cli.context import control, json_option
from modelworks.cli.output import Output
from modelworks.core import codec
from modelworks.core.ids import now_ns
from modelworks.core.model import ModelVersion, Verdict
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import TensorSpec

_UNSET: tuple[Any, ...] = (None, "", [], False)
_DETAIL = re.compile(r"evidence\.[^.]+\.detail\b")


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List every model.

    Example: modelworks models
    """
    out = Output(as_json=as_json)
    with control() as transport:
        found = transport.models()
    if as_json:
        return out.document(found)
    now = now_ns()
    rows = [
        [
            model.name,
            str(model.versions),
            str(model.latest),
            ", ".join(f"@{alias.name} -> {alias.version}" for alias in model.aliases) or "-",
            human.when(model.updated_ns, now),
        ]
        for model in found
    ]
    empty = "no models yet; bring one in with: modelworks import FILE --name NAME"
    return out.table(["model", "versions", "latest", "aliases", "updated"], rows, empty)


@click.command()
@click.argument("name")
@json_option
def versions(name: str, as_json: bool) -> None:
    """List a model's versions, newest first.

    Example: modelworks versions fraud
    """
    out = Output(as_json=as_json)
    with control() as transport:
        found = transport.versions(name)
    if as_json:
        return out.document([document(version) for version in found])
    now = now_ns()
    rows = [
        [
            str(version.version),
            human.when(version.created_ns, now),
            version.lineage.source_format or version.artifact.format,
            human.size(version.artifact.size),
            verdicts(version),
            ", ".join(version.tags) or "-",
        ]
        for version in found
    ]
    return out.table(["version", "created", "from", "size", "checks", "tags"], rows, "none")


@click.command()
@click.argument("ref")
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show one version; a bare name is the latest.

    Examples: modelworks show fraud@champion; modelworks show fraud:1.4.0
    """
    out = Output(as_json=as_json)
    with control() as transport:
        version = transport.show(ref)
    if as_json:
        return out.document(document(version))
    out.line(version.ref)
    for key, value in _facts(version):
        if value:
            out.line(f"  {key:<10}{value}")
    for title, specs in (
        ("inputs", version.signature.inputs),
        ("outputs", version.signature.outputs),
    ):
        out.line(f"{title}")
        for text in _specs(specs):
            out.line(f"  {text}")
    if version.signature.steps:
        out.line("steps")
        for text in _steps(version.signature.steps):
            out.line(f"  {text}")
    out.line("evidence")
    for evidence in version.evidence:
        out.line(f"  {evidence.kind:<12}{evidence.verdict.value:<10}{evidence.summary}")
    return None


@click.command()
@click.argument("left")
@click.argument("right")
@json_option
def compare(left: str, right: str, as_json: bool) -> None:
    """Compare two versions field by field; equal fields are left out.

    The details of their checks are compared with --json.

    Example: modelworks compare fraud:1.0.0 fraud:1.1.0
    """
    out = Output(as_json=as_json)
    with control() as transport:
        found = transport.compare(left, right)
    if as_json:
        return out.document(found)
    shown = [d for d in found.differences if not _DETAIL.match(d.field)]
    rows = [[d.field, _cell(d.left), _cell(d.right)] for d in shown]
    out.table(["field", found.left, found.right], rows, "no difference")
    served = "is served by" if found.compatible else "is NOT served by"
    return out.line(f"a caller written for {found.left} {served} {found.right}")


def document(version: ModelVersion) -> dict[str, Any]:
    """A version as JSON, its reference added."""
    return {"ref": version.ref, **codec.encode(version)}


def verdicts(version: ModelVersion) -> str:
    """`parity passed, sandbox passed` of the checks that judge; notes are left out."""
    judged = [
        e
        for e in version.evidence
        if e.kind == "parity" or (e.kind in {"trust", "scan"} and e.verdict is not Verdict.SKIPPED)
    ]
    return ", ".join(f"{e.kind} {e.verdict.value}" for e in judged) or "-"


def _facts(version: ModelVersion) -> list[tuple[str, str]]:
    lineage, signature = version.lineage, version.signature
    commit = " on ".join(text for text in (lineage.git_commit[:12], lineage.git_branch) if text)
    features = ", ".join(signature.features[:8])
    more = len(signature.features) - 8
    return [
        ("created", human.when(version.created_ns, now_ns())),
        ("by", lineage.actor),
        ("artifact", f"{version.artifact.format}, {human.size(version.artifact.size)}"),
        ("digest", version.artifact.digest),
        ("source", " ".join(t for t in (lineage.source_name, lineage.source_format) if t)),
        ("parent", lineage.parent),
        ("run", lineage.run),
        ("git", commit),
        ("data", lineage.data_digest),
        ("tags", ", ".join(version.tags)),
        ("labels", ", ".join(f"{k}={v}" for k, v in sorted(version.labels.items()))),
        ("layout", signature.layout.value),
        ("features", features + (f" and {more} more" if more > 0 else "")),
        ("classes", ", ".join(str(c) for c in signature.classes)),
    ]


def _specs(specs: tuple[TensorSpec, ...]) -> list[str]:
    shown = [[s.name, s.datatype.value, human.shape(s.shape), s.role.value] for s in specs[:40]]
    lines = human.aligned(["name", "type", "shape", "role"], shown)
    return [*lines, f"and {len(specs) - 40} more"] if len(specs) > 40 else lines


def _steps(steps: tuple[InputSteps, ...]) -> list[str]:
    """One line a step: what it does, without what is not set."""
    lines = []
    for item in steps[:40]:
        for name in item.names:
            told = codec.encode(getattr(item, name))
            text = ", ".join(f"{k} {_cell(v)}" for k, v in told.items() if v not in _UNSET)
            lines.append([item.name, name, text])
    return human.aligned(["input", "step", "values"], lines)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(codec.encode(value), default=str)
    return text if len(text) <= 60 else text[:57] + "..."
