"""Cuts a model that is too large for one process into stages that run one after the other."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.errors import CrashedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import carry, model_files, read_graph
from modelworks.ext.formats.stages import MOST, STAGES, Stage, Stages, write_stages
from modelworks.ext.passes.onnx_parts import check_job, told
from modelworks.ext.passes.shard.choose import choose
from modelworks.ext.passes.shard.compare import Whole, measured
from modelworks.ext.passes.shard.graph import Graph
from modelworks.ext.passes.shard.write import Writer

_CROSSING: Final = 8
"""Tensors that may cross a cut."""

_COMPARED: Final = 2 << 30
"""Bytes of weights up to which the whole is loaded once, to compare."""

_HEAVY: Final = frozenset(
    {
        *("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Attention"),
        *("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "MatMulNBits"),
        *("DynamicQuantizeLinear", "QuantizeLinear", "Gather", "If", "Loop", "Scan"),
    }
)
"""A cut before one of these parts nothing that an engine joins into one operator."""

_JOINED: Final = 1000.0  # against a cut that does
_MORE: Final = 10.0  # against every tensor more that crosses


class ShardPass:
    """Stages of about the same size, or of about the same time."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="shard",
        version=1,
        title="cut into stages, each in a process of its own",
        consumes=("onnx",),
        produces=STAGES,
        engine="stages",
        exact=True,
        settings=(
            Setting("stages", 2, "how many", least=2, most=MOST),
            Setting("by", "bytes", "what is shared out: weights or time", ("bytes", "time")),
            Setting("same", "bits", "as the whole: compared, or not", ("bits", "off")),
        ),
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=True,
        unsearched="stages are for models too large for one process: modelworks shard cuts them",
    )

    def fits(self, job: PassJob) -> str:
        """Models with places to cut."""
        graph = Graph(read_graph(job.source))
        wanted = job.settings["stages"] - 1
        found = len(places_of(graph, graph.alive()))
        if found < wanted:
            return f"it can be cut in {found} places, and {wanted} are wanted"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Choose the cuts, write the stages, compare."""
        check_job(self.facts, job)
        graph = Graph(read_graph(job.source))
        with told(self.facts):
            return _Cutting(graph, job).done()


def places_of(graph: Graph, alive: Sequence[Sequence[str]]) -> dict[int, float]:
    """Where a graph can be cut, and what is against each place."""
    found: dict[int, float] = {}
    for place in range(1, len(graph.work)):
        names = alive[place]
        if not 0 < len(names) <= _CROSSING or any(graph.spec(name) is None for name in names):
            continue
        heavy = any(not _HEAVY.isdisjoint(graph.readers(place, name)) for name in names)
        fresh = [n for n in names if n not in alive[place - 1]]
        joins = not heavy or (fresh and _HEAVY.isdisjoint(graph.readers(place, fresh[0])))
        found[place] = _MORE * (len(names) - 1) + _JOINED * bool(joins)
    return found


class _Cutting:
    def __init__(self, graph: Graph, job: PassJob) -> None:
        self._graph, self._job = graph, job
        self._alive = graph.alive()
        self._writer = Writer(graph, job.source, self._alive)
        self._weights = graph.weights()
        compares = job.settings["same"] == "bits" and sum(self._weights) <= _COMPARED
        needed = compares or job.settings["by"] == "time"
        self._whole = Whole(job.source, job.threads) if needed else None
        self._compares = compares
        self._refused = 0

    def done(self) -> Applied:
        job = self._job
        costs: Sequence[float] = self._weights
        if job.settings["by"] == "time" and self._whole is not None:
            costs = measured(self._graph, job.source, self._whole.inputs, job.threads)
        cuts = self._cuts(costs)
        stages = self._written(cuts, job.into)
        if self._compares and not self._same(stages, job.into):
            raise CrashedError("the stages together do not give the bits that the whole gives")
        carry(job.source, job.into, model_files(job.source))
        write_stages(job.into, Stages(tuple(stages), job.settings["by"], self._compares))
        return Applied(STAGES, (), self._notes(stages), self._figures(stages, cuts, costs))

    def _cuts(self, costs: Sequence[float]) -> tuple[int, ...]:
        """The best cuts of those that change no bit."""
        places = places_of(self._graph, self._alive)
        good: set[int] = set()
        while True:
            cuts = choose(costs, places, self._job.settings["stages"])
            wrong = [cut for cut in cuts if cut not in good and not self._exact(cut)]
            if not wrong:
                return cuts
            good.update(set(cuts) - set(wrong))
            self._refused += len(wrong)
            for cut in wrong:
                del places[cut]

    def _exact(self, cut: int) -> bool:
        """Whether a cut alone leaves every bit as it is: engines join operators across it."""
        if not self._compares:
            return True
        with tempfile.TemporaryDirectory(prefix="modelworks-shard-") as name:
            return self._same(self._written((cut,), Path(name)), Path(name))

    def _same(self, stages: Sequence[Stage], folder: Path) -> bool:
        return self._whole is not None and self._whole.same([folder / s.folder for s in stages])

    def _written(self, cuts: Sequence[int], into: Path) -> list[Stage]:
        ends = [*cuts, len(self._graph.work)]
        stages = []
        for number, (start, end) in enumerate(zip([0, *cuts], ends, strict=True)):
            folder = into / f"stage-{number}"
            shutil.rmtree(folder, ignore_errors=True)
            stages.append(self._writer.stage(start, end, folder))
        return stages

    def _notes(self, stages: Sequence[Stage]) -> tuple[str, ...]:
        sizes = ", ".join(f"{stage.weight_bytes / 2**20:.1f}" for stage in stages)
        crossing = ", ".join(str(len(stage.inputs)) for stage in stages[1:])
        notes = [f"weights of the stages: {sizes} MiB; tensors that cross: {crossing}"]
        twice = sum(s.weight_bytes for s in stages) - sum(self._weights)
        if twice > 0:
            notes.append(f"{twice} bytes of weights are read by several stages and lie in each")
        if self._compares:
            notes.append("on made-up rows the stages give the bits that the whole gives")
        else:
            notes.append("the stages were not compared with the whole")
        if self._refused:
            notes.append(f"{self._refused} places were not cut: the engine rounds otherwise there")
        return tuple(notes)

    def _figures(
        self, stages: Sequence[Stage], cuts: Sequence[int], costs: Sequence[float]
    ) -> dict[str, float]:
        shares = [
            sum(costs[a:b]) / (sum(costs) or 1.0)
            for a, b in zip([0, *cuts], [*cuts, len(costs)], strict=True)
        ]
        return {
            "stages": float(len(stages)),
            "largest_share": max(shares),
            "weight_bytes_largest": float(max(stage.weight_bytes for stage in stages)),
        }
