"""Reads a SavedModel's graph as data: which operations it holds, and which of them would run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf.message import DecodeError

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.scans import Danger, Finding
from modelworks.ext.importers.keras.config import shown
from modelworks.ext.importers.keras.lists import (
    Verdict,
    judge_operation,
    reason_of,
    savers,
)
from modelworks.ext.importers.keras.proto import saved_model

FILE: Final = "saved_model.pb"
_OTHERS = ("saved_model.cpb", "saved_model.pbtxt")
_LONG = 1 << 30
_SERVE = "serve"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a SavedModel says of itself.

    Attributes:
        version: of TensorFlow that wrote it.
        signatures: names of the functions that can be served.
    """

    version: str
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """One operation in the main graph or in a function."""

    op: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]


_Body = dict[str, _Node]  # node name -> node


def look(folder: Path) -> tuple[Facts, list[Finding]]:
    """Every operation of the graph and its functions, with what the lists say of it.

    Raises:
        InvalidError: damaged, or nothing to serve in it.
        RefusedError: two graphs, or assets that climb out of the folder.
    """
    twin = next((name for name in _OTHERS if (folder / name).exists()), None)
    if twin and (folder / FILE).exists():
        raise RefusedError(
            f"{folder.name}: holds {FILE} and {twin}, and which one counts cannot be known",
            field="file",
        )
    message = _parse(folder)
    served = [graph for graph in message.meta_graphs if _SERVE in graph.info.tags]
    if not served:
        raise InvalidError(f"{folder.name}: no graph to serve (tag '{_SERVE}')", field="file")
    if len(served) > 1:
        raise RefusedError(f"{folder.name}: two graphs with the tag '{_SERVE}'", field="file")
    findings: dict[str, Finding] = {}
    for graph in message.meta_graphs:
        _assets(folder, graph)
        for finding in _Look(graph).findings():
            known = findings.get(finding.name)
            if known is None or known.danger is Danger.CLEAN:
                findings[finding.name] = finding
    names = sorted(entry.key for entry in served[0].signatures if not entry.key.startswith("__"))
    return Facts(shown(served[0].info.version), tuple(names)), list(findings.values())


def _parse(folder: Path) -> Any:
    path = folder / FILE
    try:
        if path.stat().st_size > _LONG:
            raise RefusedError(f"{folder.name}/{FILE}: longer than {_LONG >> 30} GiB", field="file")
        message = saved_model()()
        message.ParseFromString(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidError(f"{folder.name}: no {FILE} in it", field="file") from error
    except DecodeError as error:
        raise InvalidError(f"{folder.name}/{FILE}: truncated or damaged", field="file") from error
    if not message.meta_graphs:
        raise InvalidError(f"{folder.name}/{FILE}: holds no graph", field="file")
    return message


def _assets(folder: Path, graph: Any) -> None:
    for asset in graph.assets:
        name = PurePosixPath(asset.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in asset.filename:
            raise RefusedError(
                f"{folder.name}: the asset '{shown(asset.filename)}' climbs out of the folder",
                field="file",
            )


class _Look:
    """One graph with its functions."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._main = _body(graph.graph.nodes)
        self._functions = {
            function.about.name: _body(function.nodes) for function in graph.graph.library.functions
        }

    def findings(self) -> Iterator[Finding]:
        """Each operation once; the worst of the places where it stands decides."""
        special = savers()
        every: dict[str, None] = {}
        for body in (self._main, *self._functions.values()):
            every.update(dict.fromkeys(node.op for node in body.values()))
        run = self._reached(self._roots())
        restored = self._reached((None, name) for name in self._restore())
        for op in every:
            if op in self._functions:
                continue  # a function called by its name
            if op in special.writing:
                bad = op in run or op in restored
            elif op in special.reading:
                bad = op in run
            elif op in special.assets:
                bad = self._reads_elsewhere(op)
            else:
                yield judge_operation(op).finding(shown(op))
                continue
            danger = Danger.DANGEROUS if bad else Danger.CLEAN
            yield Verdict(danger, "dangerous" if bad else "tensorflow", reason_of(op)).finding(op)

    def _roots(self) -> Iterator[tuple[str | None, str]]:
        """What runs when the model is loaded or asked: signatures and the objects' functions."""
        for entry in self._graph.signatures:
            for output in entry.value.outputs:
                yield None, _node_of(output.value.name)
        for entry in self._graph.objects.functions:
            for name in self._functions.get(entry.key, ()):
                yield entry.key, name

    def _restore(self) -> Iterator[str]:
        if self._graph.saver.restore:
            yield _node_of(self._graph.saver.restore)

    def _reached(self, roots: Iterable[tuple[str | None, str]]) -> set[str]:
        """The operations that these nodes lead to, through inputs and calls."""
        todo, seen = list(roots), set()
        found: set[str] = set()
        while todo:
            where, name = todo.pop()
            if (where, name) in seen:
                continue
            seen.add((where, name))
            body = self._main if where is None else self._functions.get(where, {})
            node = body.get(name)
            if node is None:
                continue
            found.add(node.op)
            todo += [(where, _node_of(given)) for given in node.inputs]
            for called in (*node.calls, node.op):
                todo += [(called, inner) for inner in self._functions.get(called, ())]
        return found

    def _reads_elsewhere(self, op: str) -> bool:
        """Whether the file's name is a constant of the graph that is none of its assets."""
        own = {_node_of(asset.tensor.name) for asset in self._graph.assets}
        for where, body in ((None, self._main), *self._functions.items()):
            for node in body.values():
                if node.op != op or len(node.inputs) < 2:
                    continue
                source = _node_of(node.inputs[1])
                given = body.get(source)
                if given is not None and not (where is None and source in own):
                    return True
        return False


def _body(nodes: Any) -> _Body:
    return {
        node.name: _Node(node.op, tuple(node.inputs), tuple(_calls(node.attributes)))
        for node in nodes
    }


def _calls(attributes: Any) -> Iterator[str]:
    for entry in attributes:
        if entry.value.function.name:
            yield entry.value.function.name
        for function in entry.value.list.functions:
            yield function.name


def _node_of(tensor: str) -> str:
    """`^a/b:0` is an output of the node `a/b`."""
    return tensor.removeprefix("^").partition(":")[0]
