"""What passes through OpenVINO share: a model is read, its operators get names, it is written."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import onnx

from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import PassFacts, PassJob
from modelworks.core.tensor import Datatype
from modelworks.ext.engines.agreement import agree
from modelworks.ext.engines.openvino_model import ov, reason, signature_of
from modelworks.ext.formats import ir
from modelworks.ext.formats.onnx_model import (
    MODEL,
    carry,
    model_files,
    own_signature,
    read_graph,
    short,
)
from modelworks.ext.passes.onnx_parts import check_job

ONNX, IR = "onnx", "openvino-ir"
_SETS: Final = {"", "ai.onnx", "com.microsoft"}
_LONGEST_REASON: Final = 180
_NARROWED: Final = {Datatype.INT64, Datatype.UINT64, Datatype.UINT32}


def operators_of(job: PassJob) -> Counter[str]:
    """Types of a source's operators, in the words of its own format; reads no weights.

    How often each occurs is known of ONNX alone; of IR every number is 1.

    Raises:
        InvalidError: the file is damaged.
    """
    if job.format == IR:
        return Counter(ir.read(job.source / ir.MODEL).layers)
    return Counter(node.op_type for node in read_graph(job.source).graph.node)


def foreign(job: PassJob) -> str:
    """Why OpenVINO cannot take a model over, or would compute it otherwise; empty = it can."""
    if job.format == IR:
        return ""
    graph = read_graph(job.source).graph
    alien = next((n for n in graph.node if n.domain not in _SETS), None)
    if alien is not None:
        return f"OpenVINO has no {alien.op_type} of {alien.domain}"
    double = onnx.TensorProto.DOUBLE
    wide = next((v.name for v in graph.input if v.type.tensor_type.elem_type == double), "")
    wide = wide or next((one.name for one in graph.initializer if one.data_type == double), "")
    if wide:
        return f"'{wide[:60]}' is float64, and OpenVINO's CPU computes that in float32"
    return ""


def read_source(facts: PassFacts, job: PassJob) -> ov.Model:
    """The job's model, its operators named the same each time.

    Raises:
        InvalidError: the job is none for this pass, or the file is damaged.
        UnsupportedError: an operator that OpenVINO does not have.
        CrashedError: OpenVINO failed.
    """
    check_job(facts, job)
    if job.format == IR:
        file = job.source / ir.MODEL
        ir.read(file)
    else:
        file = job.source / MODEL
        why = foreign(job)  # reads the graph: a damaged one is told here
        if why:
            raise UnsupportedError(f"{facts.name}: {why}")
    try:
        model = ov.Core().read_model(str(file))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _unreadable(facts, file, error) from error
    name_operators(model)
    return model


def _unreadable(facts: PassFacts, file: Path, error: Exception) -> Exception:
    text = " ".join(str(error)[:4000].split())
    mark = "No conversion rule found for operations:"
    if mark in text:
        names = text.partition(mark)[2].split(" -- ")[0].strip()
        return UnsupportedError(f"{facts.name}: OpenVINO has no {names[:_LONGEST_REASON]}")
    if file.name == MODEL:
        try:  # the graph can be read, so weights are the next guess
            onnx.checker.check_model(str(file))
        except (onnx.checker.ValidationError, ValueError) as damage:
            return InvalidError(f"{file.name} is damaged: {short(damage)}", field="source")
    why = reason(error)[:_LONGEST_REASON]
    return CrashedError(f"{facts.name}: OpenVINO cannot read {file.name}: {why}")


def name_operators(model: ov.Model) -> None:
    """Name what OpenVINO numbered itself: its counter goes on from model to model.

    The same model has the same names each time, and so the same bytes.
    """
    operators = model.get_ordered_ops()
    taken = {str(one.get_friendly_name()) for one in operators if not _numbered(one)}
    counts: dict[str, int] = {}
    for one in operators:
        if not _numbered(one):
            continue
        kind = str(one.get_type_name())
        while True:
            counts[kind] = counts.get(kind, 0) + 1
            name = f"{kind}.{counts[kind]}"
            if name not in taken:
                break
        one.set_friendly_name(name)


def _numbered(operator: Any) -> bool:
    return bool(operator.get_friendly_name() == operator.get_name())


def write_ir(facts: PassFacts, job: PassJob, model: ov.Model, *, half: bool = False) -> None:
    """Write the result, whole, and what lies beside the source's model.

    Args:
        facts: of the pass.
        job: says where.
        model: the result.
        half: weights are stored as float16.

    Raises:
        CrashedError: the model takes or gives something else than before, or it could not be
            written whole.
    """
    name_operators(model)
    try:
        agree(own_signature(job.source, job.signature), signature_of(model), "the result")
    except InvalidError as error:
        raise CrashedError(f"{facts.name}: {error.message}") from error
    file = job.into / ir.MODEL
    try:
        ov.save_model(model, str(file), compress_to_fp16=half)
        ir.read(file)  # a full disk is not told by OpenVINO
    except (RuntimeError, InvalidError) as error:
        raise CrashedError(
            f"{facts.name}: {file.name} could not be written whole; is the disk full, or the file "
            "longer than is allowed?"
        ) from error
    left = {ir.MODEL, ir.WEIGHTS} if job.format == IR else model_files(job.source)
    carry(job.source, job.into, left)


def remarks(job: PassJob) -> list[str]:
    """What everybody should know who computes this model by OpenVINO."""
    signature = own_signature(job.source, job.signature)
    specs = (*signature.inputs, *signature.outputs)
    wide = [spec.name for spec in specs if spec.datatype in _NARROWED]
    if not wide or job.format == IR:
        return []
    return [f"{', '.join(wide)[:120]}: OpenVINO's CPU computes in 32 bits; 2^31 and more wrap"]
