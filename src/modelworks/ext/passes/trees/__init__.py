"""Takes the trees out of an ONNX graph, for a kernel of our own."""

from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.core.tensor import Datatype, Signature
from modelworks.ext.formats import trees, trees_file
from modelworks.ext.formats.onnx_model import carry, model_files, own_signature, read_model
from modelworks.ext.formats.trees import About, Ending, Forest
from modelworks.ext.passes.onnx_parts import begin
from modelworks.ext.passes.trees import graph, later, leaves, nodes
from modelworks.ext.passes.trees.graph import Around

_TRANSFORMS: Final = {
    "NONE": Ending.CLASSES,
    "SOFTMAX": Ending.SOFTMAX,
    "LOGISTIC": Ending.EACH,
}


class TreesPass:
    """The pass `trees`: from `onnx` to `trees`."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="trees",
        version=1,
        title="trees, flattened",
        consumes=("onnx",),
        produces=trees.FORMAT,
        engine="trees",
        exact=True,
        libraries=("onnx",),
        extra="optimize-trees",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """What stands in the graph besides trees, or what of the trees is not followed."""
        try:
            model = read_model(job.source)
            _forest(graph.read(model), own_signature(job.source, job.signature))
        except ModelworksError as error:
            return error.message
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Write the trees as arrays; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        forest = _forest(graph.read(model), own_signature(job.source, job.signature))
        trees_file.write(forest, job.into / trees_file.FILE)
        carry(job.source, job.into, model_files(job.source))
        count, deepest = len(forest.roots), int(forest.depths.max())
        return Applied(
            trees.FORMAT,
            notes=(
                f"{count} trees of {len(forest.children)} nodes, the deepest of {deepest} steps",
            ),
            figures={"trees": count, "nodes": len(forest.children), "deepest": deepest},
        )


def _forest(around: Around, signature: Signature) -> Forest:
    """The trees of a graph, checked.

    Raises:
        UnsupportedError: something that the kernel does not do.
        InvalidError: the trees are damaged.
    """
    if around.kind == later.KIND:
        around = replace(around, attributes=later.as_regressor(around.attributes))
    classifier = around.kind == "TreeEnsembleClassifier"
    word = "class" if classifier else "target"
    sums = len(around.labels) if classifier else int(around.attributes.get("n_targets", 1))
    given = nodes.listed(around.attributes)
    held = leaves.weights(around.attributes, given, word, sums)
    if held.values.dtype != given.thresholds.dtype:
        raise UnsupportedError("thresholds of another precision than the leaves")
    order = nodes.ordered(given)
    arrays = leaves.packed(held, given.trees, order.places, order.leaf)
    kept = np.where(order.leaf, 0, order.places)
    inner = ~order.leaf
    return trees_file.check(
        Forest(
            _about(around, signature, held, strict=order.strict),
            thresholds=np.where(inner, given.thresholds[kept], 0).astype(given.thresholds.dtype),
            features=np.where(inner, given.features[kept], 0).astype(np.int32),
            missing_right=order.missing_right,
            children=order.children,
            roots=order.roots,
            base=held.base,
            **arrays,
        )
    )


def _about(around: Around, signature: Signature, held: leaves.Weights, *, strict: bool) -> About:
    ending = _ending(around, held)
    by_name = {spec.name: spec for spec in signature.inputs}
    inputs = tuple(by_name[name] for name in around.inputs if name in by_name)
    outputs = tuple(s for s in signature.outputs if s.name in {around.label, around.output})
    if len(inputs) != len(signature.inputs) or len(outputs) != len(signature.outputs):
        raise UnsupportedError("an input or output of the model is none of the trees'")
    if any(s.name == around.output and s.datatype is not Datatype.FP32 for s in outputs):
        raise UnsupportedError("an output of another precision than float32")
    shape = inputs[0].shape
    width = len(inputs) if len(inputs) > 1 else shape[1] if len(shape) == 2 else None
    if width is None:
        raise UnsupportedError("rows of any width")
    return About(
        Signature(inputs, outputs),
        ending,
        width,
        strict,
        around.label,
        around.output,
        around.labels,
        around.before,
        double=held.values.dtype == np.float64,
    )


def _ending(around: Around, held: leaves.Weights) -> Ending:
    transform = nodes.text(around.attributes.get("post_transform") or "NONE")
    if around.kind != "TreeEnsembleClassifier":
        if transform != "NONE":
            raise UnsupportedError(f"the transform {transform[:40]} of a regressor")
        return around.link
    if transform not in _TRANSFORMS:
        raise UnsupportedError(f"the transform {transform[:40]}")
    if held.sums > 1:
        return _TRANSFORMS[transform]
    if len(around.labels) != 2:
        raise UnsupportedError(f"{len(around.labels)} classes")
    if held.positive:
        if transform != "NONE":
            raise UnsupportedError(f"shares that go through {transform}")
        return Ending.SHARE
    if transform == "SOFTMAX":
        raise UnsupportedError("two classes of one sum that go through SOFTMAX")
    return Ending.BINARY if transform == "LOGISTIC" else Ending.BINARY_RAW
