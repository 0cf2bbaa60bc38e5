"""The graph as ONNX Runtime would run it, made once and not at every load."""

from collections import Counter
from typing import ClassVar

import onnxruntime as ort

from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import read_graph
from modelworks.ext.passes.onnx_parts import begin, end, told
from modelworks.ext.passes.onnx_session import LEVELS, optimized

_FEWEST = 2


class OrtOptimize:
    """Offline graph optimization: shorter loading; what is run stays the same."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="ort_optimize",
        version=1,
        title="optimized before it is loaded",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        exact=True,
        settings=(
            Setting("level", "extended", "all = with the layout of this very processor", LEVELS),
        ),
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """A graph of one operator has nothing to be optimized."""
        nodes = [n for n in read_graph(job.source).graph.node if n.op_type != "Constant"]
        if len(nodes) < _FEWEST:
            return f"the graph is one operator ({nodes[0].op_type if nodes else 'a constant'})"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Optimize; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        before = len(model.graph.node)
        with told(self.facts):
            result = optimized(model, job.settings["level"], job.threads)
        after = len(result.graph.node)
        own = Counter(n.op_type for n in result.graph.node if n.domain.startswith("com.microsoft"))
        notes = [f"{before} operators became {after}, by onnxruntime {ort.__version__}"]
        if own:
            notes.append(f"only onnxruntime runs it: {', '.join(sorted(own))[:160]}")
        if job.settings["level"] == "all":
            notes.append("its layout is that of the processor it was made on")
        return end(job, result, (), notes, {"nodes_before": before, "nodes": after})
