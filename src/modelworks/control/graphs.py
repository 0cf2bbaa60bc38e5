"""Graphs in the registry: checked against the models that it has, kept as versions of their own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelworks.core import digest
from modelworks.core.errors import InvalidError
from modelworks.core.graphs import FILE, GRAPH, Graph, ModelStep, OperationStep, SwitchStep, every
from modelworks.core.model import Evidence, Lineage, ModelVersion, Verdict
from modelworks.core.tensor import Signature
from modelworks.protocol.graphs import Checked, check_graph, graph_of
from modelworks.registry.publish import Publication

Find = Callable[[str], ModelVersion]
"""The version that a reference means now."""


@dataclass(frozen=True, slots=True)
class Known:
    """A graph that the registry's models can run.

    Attributes:
        graph: as declared.
        checked: as it would be run.
        models: step -> the version that it means now.
    """

    graph: Graph
    checked: Checked
    models: dict[str, ModelVersion]

    def steps(self) -> list[tuple[str, str, str]]:
        """Of each step its name, what it is, and the version that it means."""
        return [
            (
                step.name,
                _kind(step),
                self.models[step.name].ref if isinstance(step, ModelStep) else "",
            )
            for step in every(self.graph.steps)
        ]


def known(values: Any, find: Find) -> Known:
    """Check what a file declares against the registry.

    Args:
        values: of the file, plain.
        find: versions.

    Raises:
        InvalidError: it declares no graph, or one that cannot be run; which step, and the cure.
        NotFoundError: a model that is not there.
    """
    graph = graph_of(values)
    models: dict[str, ModelVersion] = {}

    def signature(step: ModelStep) -> Signature:
        version = models[step.name] = find(step.asked)
        if version.artifact.format == GRAPH:
            raise InvalidError(
                f"'{step.asked}' is a graph: a graph is made of models; copy its steps instead"
            )
        return version.signature

    checked = check_graph(graph, signature)
    return Known(graph, checked, models)


def publication_of(values: Any, found: Known, work: Path, name: str, alias: str) -> Publication:
    """A graph as what is published.

    Args:
        values: of the file, plain.
        found: of them.
        work: an empty folder.
        name: of the file that they came in.
        alias: to point at the version; empty = none.
    """
    file = work / FILE
    file.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
    asked = {step: version.ref for step, version in found.models.items()}
    told = ", ".join(sorted(set(asked.values())))
    count = len(found.checked.plan.steps)
    summary = f"{count} steps fit together, with {told or 'no model'}"
    return Publication(
        name=found.graph.name,
        folder=work,
        format=GRAPH,
        signature=found.checked.signature,
        lineage=Lineage(source_digest=digest.of_file(file), source_format=GRAPH, source_name=name),
        evidence=(Evidence("signature", Verdict.PASSED, summary, {"models": asked}),),
        alias=alias,
    )


def _kind(step: Any) -> str:
    if isinstance(step, ModelStep):
        return f"model {step.asked}"
    if isinstance(step, OperationStep):
        return step.operation
    return "switch" if isinstance(step, SwitchStep) else "split"
