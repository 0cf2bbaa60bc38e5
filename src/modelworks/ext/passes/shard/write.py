"""Writes the nodes between two cuts as a model of their own, with the weights that they need.

Weights that lie in other files are copied from file to file, in pieces: nobody holds the whole.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx
from onnx import external_data_helper, helper

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import TensorSpec
from modelworks.ext.formats.onnx_model import WEIGHTS, write_model
from modelworks.ext.formats.stages import Stage, digest_of
from modelworks.ext.passes.shard.graph import Graph, size_of

_PIECE: Final = 4 << 20
_ALIGN: Final = 4096  # of a weight in its file: it can be mapped


_End = tuple[str, str]
"""An end of a stage: its name there, and the tensor's own."""


class Writer:
    """Writes stages of one graph.

    Args:
        graph: that is cut.
        source: folder of the artifact: files that its weights lie in are there.
        alive: as `Graph.alive` has it.
    """

    def __init__(self, graph: Graph, source: Path, alive: Sequence[Sequence[str]]) -> None:
        self._graph = graph
        self._source = source.resolve()
        self._alive = alive

    def stage(self, start: int, end: int, into: Path) -> Stage:
        """Write the steps from `start` to before `end`.

        Args:
            start: 0 for the first stage.
            end: as many as there are steps for the last stage.
            into: its folder, which is made here; `Stage.folder` is its name.

        Raises:
            InvalidError: a weight's file is not there, or too short.
        """
        graph, steps = self._graph, len(self._graph.work)
        takes = self._alive[start]
        gives = self._alive[end] if end < steps else graph.outputs
        places = graph.work[start:end]
        free, stored = graph.constants_of(places, gives)
        made = {name for p in places for name in graph.model.graph.node[p].output}
        # What is taken and handed on has one name on either side.
        passed = [name for name in takes if name in gives and name not in made]
        before = {name: self._other(name) for name in passed} if start else {}
        after = {} if start else {name: self._other(name) for name in passed}
        into.mkdir(parents=True)
        model = self._model(
            [(before.get(name, name), name) for name in takes],
            [(after.get(name, name), name) for name in gives],
        )
        for there, here in ((before, False), (after, True)):
            for name, other in there.items():
                ends = ([name], [other]) if here else ([other], [name])
                model.graph.node.append(helper.make_node("Identity", *ends, name=f"pass {name}"))
        nodes = graph.model.graph.node
        model.graph.node.extend(nodes[place] for place in sorted({*free, *places}))
        model.graph.initializer.extend(graph.stored[name] for name in stored)
        self._copy(model, into)
        write_model(model, into)
        return Stage(
            folder=into.name,
            inputs=tuple(self._spec(name, before) for name in takes),
            outputs=tuple(self._spec(name, after) for name in gives),
            digest=digest_of(into),
            weight_bytes=sum(size_of(graph.stored[name]) for name in stored),
        )

    def _spec(self, name: str, names: dict[str, str]) -> TensorSpec:
        found = self._graph.spec(name)
        if found is None:  # the caller cut where everything is known
            raise InvalidError(f"'{name[:80]}' is no plain tensor", field="source")
        return TensorSpec(names.get(name, name), found.datatype, found.shape)

    def _model(self, takes: Sequence[_End], gives: Sequence[_End]) -> onnx.ModelProto:
        """Without nodes and weights: the ends, and what the whole says of itself."""
        whole = self._graph.model
        graph = onnx.GraphProto(name=whole.graph.name or "stage")
        for ends, side in ((takes, graph.input), (gives, graph.output)):
            for name, own in ends:
                side.append(onnx.ValueInfoProto(name=name, type=self._graph.kind(own)))
        model = onnx.ModelProto(
            ir_version=whole.ir_version,
            producer_name=whole.producer_name,
            producer_version=whole.producer_version,
            domain=whole.domain,
        )
        model.graph.CopyFrom(graph)
        model.opset_import.extend(whole.opset_import)
        model.functions.extend(whole.functions)
        return model

    def _other(self, name: str) -> str:
        """A name that no tensor has, for the side on which it may not be its own."""
        name = f"{name} (handed on)"
        while self._graph.knows(name):
            name += "_"
        return name

    def _copy(self, model: onnx.ModelProto, into: Path) -> None:
        """Bring the weights that lie in other files into one file of the stage."""
        away = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
        if not away:
            return
        with (into / WEIGHTS).open("wb") as to:
            for tensor in away:
                told = external_data_helper.ExternalDataInfo(tensor)
                begin, length = told.offset or 0, size_of(tensor)
                to.seek(-(-to.tell() // _ALIGN) * _ALIGN)
                place = to.tell()
                with self._file(told.location, tensor.name).open("rb") as read:
                    read.seek(begin)
                    left = length
                    while left and (data := read.read(min(left, _PIECE))):
                        to.write(data)
                        left -= len(data)
                if left:
                    raise InvalidError(
                        f"the weight '{tensor.name[:80]}' wants {length} bytes of "
                        f"{told.location[:80]}, and {left} of them are missing",
                        field="source",
                    )
                del tensor.external_data[:]
                for key, value in (("location", WEIGHTS), ("offset", place), ("length", length)):
                    tensor.external_data.append(
                        onnx.StringStringEntryProto(key=key, value=str(value))
                    )

    def _file(self, location: str, name: str) -> Path:
        """The file of a weight; only one below the artifact's folder."""
        try:
            file = (self._source / location).resolve(strict=True)
        except (OSError, ValueError):
            file = Path()
        if not file.is_file() or not file.is_relative_to(self._source):
            raise InvalidError(
                f"the weight '{name[:80]}' lies in '{location[:80]}', and the artifact has no such "
                "file",
                field="source",
            )
        return file
