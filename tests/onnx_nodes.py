"""The node tests of the `onnx` package: which of them onnxruntime runs, and the page about it.

A case is a model of one operator with inputs and the outputs that the ONNX specification wants.
Whether onnxruntime can run it is asked of a plain `InferenceSession`, without any of our code.
"""

import ctypes
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

DOC = Path(__file__).parent.parent / "docs" / "onnx-conformance.md"
NEWEST_IR, NEWEST_OPSET = 13, 26
"""The newest IR version and released operator set that onnxruntime 1.31 loads."""
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
_TYPELESS = "a tensor of a type that the protocol has not"
DATATYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.STRING: "BYTES",
}
Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A case that onnxruntime runs.

    Attributes:
        name: a model name.
        model: the ONNX file's bytes.
        inputs: by name; BF16 as `ml_dtypes` has it.
        wanted: outputs by name.
        datatypes: of every input and output by name.
        lowered: its version stamps were newer than this onnxruntime loads.
        rtol: of onnx's own comparison.
        atol: the same.
    """

    name: str
    model: bytes
    inputs: Arrays
    wanted: Arrays
    datatypes: dict[str, str]
    lowered: bool
    rtol: float
    atol: float

    def check(self, answered: Arrays) -> None:
        """Compare as onnx's own runner does.

        Raises:
            AssertionError: outputs, shapes, dtypes or values differ.
        """
        assert list(answered) == list(self.wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Runner.assert_similar_outputs(
                list(self.wanted.values()), list(answered.values()), self.rtol, self.atol
            )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that is not served, and why."""

    name: str
    kind: str
    detail: str


@cache
def sorted_out() -> tuple[tuple[Case, ...], tuple[Skipped, ...]]:
    """Every node test: those that onnxruntime runs, and the others."""
    cases, skipped = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx makes some of its data by overflow on purpose
        for test in load_model_tests(kind="node"):
            found = _case(test)
            (cases if isinstance(found, Case) else skipped).append(found)
    return tuple(cases), tuple(skipped)


def _case(test: Any) -> Case | Skipped:
    name = test.name.removeprefix("test_").lower().replace("_", "-").strip("-")
    graph = test.model.graph
    for value in (*graph.input, *graph.output):
        if foreign := _foreign(value):
            return Skipped(name, _TYPELESS, foreign)
    datatypes = {
        value.name: DATATYPES[value.type.tensor_type.elem_type]
        for value in (*graph.input, *graph.output)
    }
    given, wanted = test.data_sets[0]
    case = Case(
        name,
        test.model.SerializeToString(),
        _named(graph.input, given),
        _named(graph.output, wanted),
        datatypes,
        lowered=False,
        rtol=test.rtol,
        atol=test.atol,
    )
    problem = oracle(case)
    lower = _lowered(test.model)
    if problem is not None and lower is not None:
        changed = Case(name, lower, case.inputs, case.wanted, datatypes, True, case.rtol, case.atol)
        problem = oracle(changed)
        case = changed
    return case if problem is None else Skipped(name, *problem)


def _foreign(value: Any) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind).removesuffix("_type")
    element = value.type.tensor_type.elem_type
    return "" if element in DATATYPES else TensorProto.DataType.Name(element)


def _named(values: Any, arrays: Any) -> Arrays:
    return {
        value.name: numpy_helper.to_array(array)
        if isinstance(array, onnx.TensorProto)
        else np.asarray(array)
        for value, array in zip(values, arrays, strict=True)
    }


def _lowered(model: Any) -> bytes | None:
    """The same graph with older version stamps; None where they are old enough."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.ir_version = min(model.ir_version, NEWEST_IR)
    for opset in changed.opset_import:
        if opset.domain in {"", "ai.onnx"}:
            opset.version = min(opset.version, NEWEST_OPSET)
    return None if changed == model else changed.SerializeToString()


def oracle(case: Case) -> tuple[str, str] | None:
    """Why a plain onnxruntime session does not give the reference answer; None = it does."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime has no base of its own
        return "onnxruntime does not load it", _reason(error)
    try:
        answered = _run(session, case)
    except Exception as error:  # noqa: BLE001 - the same
        return "onnxruntime fails on its inputs", _reason(error)
    try:
        case.check(answered)
    except AssertionError as error:
        mismatch = re.search(r"Mismatched elements: [^)]*\)|\w+ location mismatch", str(error))
        said = mismatch.group() if mismatch else str(error).strip().split("\n")[0]
        return "onnxruntime answers something else", said
    return None


def _run(session: Any, case: Case) -> Arrays:
    names = list(case.wanted)
    if "BF16" not in case.datatypes.values():
        return dict(zip(names, session.run(names, case.inputs), strict=True))
    values = {name: _value(array) for name, array in case.inputs.items()}
    results = session.run_with_ort_values(names, values)
    return {name: _array(value) for name, value in zip(names, results, strict=True)}


def _value(array: Any) -> Any:
    array = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: Any) -> Any:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    shape = value.shape()
    memory = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape))
    return np.frombuffer(memory, ml_dtypes.bfloat16).reshape(shape)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    for known in (
        r"Could not find an implementation for \w+\(\d+\)",
        r"Failed to find kernel for \w+\(\d+\)",
        r"\S+\(-1\) is not a registered function/op",
        r"No Op registered for \w+ with domain_version of \d+",
        r"Unrecognized attribute: \w+ for operator \w+",
        r"Type '[^']+' of input parameter \(\w+\) of operator \(\w+\)",
        r"locale name not valid",
        r"fmod attribute must be true for floating point types",
        r"inconsistent total_sequence_length",
        r"Non per-tensor quantization is not supported",
        r"recurrent operations \(layout == 1\) are not supported",
        r"Type parameter \(\w+\) of Optype \(\w+\) bound to different types",
    ):
        if found := re.search(known, text):
            return found.group()
    return text.split("Status Message: ")[-1].split(" : ")[-1][-120:]


_HEAD = """# ONNX conformance over the wire

The node tests of the `onnx` package {onnx}: {total} models of one operator each, with the outputs
that the specification wants. `tests/real/test_serving_onnx_nodes.py` starts a server, serves them
in batches of a few hundred by changing its served list, sends the inputs over HTTP as binary
tensors and, where every tensor has a JSON form, as JSON, and compares with `onnx`'s own tolerance.
It fails when one that a plain onnxruntime {ort} session answers is not answered by the server. With
`MODELWORKS_WRITE_DOCS=1` it writes this page.

| | models |
|---|---|
| node tests | {total} |
| of them, every tensor has a datatype of the Open Inference Protocol | {typed} |
| served and answered as the reference data say | **{served}** |
| of them, as `onnx` wrote them | {plain} |
| of them, with version stamps lowered to IR {ir}, operator set {opset} | {lowered} |
| of them, answered as JSON too | {json} |
| not served | {skipped} |

Lowered stamps: `onnx` {onnx} stamps its newest operators with an IR version or an operator set that
onnxruntime {ort} refuses before it looks at the graph. The graph is left as it is; where
onnxruntime then gives the reference answer, so does the server. JSON is left out where a tensor is
FP16 or BF16 (the server refuses with the reason, which is tested) or an input holds an infinity.

## Not served

"""


def page(cases: Iterable[Case], skipped: Iterable[Skipped], in_json: int) -> str:
    """The whole page."""
    cases, skipped = list(cases), list(skipped)
    lowered = sum(case.lowered for case in cases)
    typeless = sum(case.kind == _TYPELESS for case in skipped)
    total = len(cases) + len(skipped)
    text = _HEAD.format(
        onnx=onnx.__version__,
        ort=ort.__version__,
        total=total,
        typed=total - typeless,
        served=len(cases),
        plain=len(cases) - lowered,
        lowered=lowered,
        json=in_json,
        skipped=len(skipped),
        ir=NEWEST_IR,
        opset=NEWEST_OPSET,
    )
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for item in skipped:
        groups[item.kind, item.detail].append(item.name)
    counts = Counter(item.kind for item in skipped)
    text += "| reason | models |\n|---|---|\n"
    text += "".join(f"| {kind} | {count} |\n" for kind, count in sorted(counts.items()))
    for kind in sorted(counts):
        text += f"\n### {kind[0].upper()}{kind[1:]}\n\n"
        for (of, detail), names in sorted(groups.items()):
            if of == kind:
                said = detail.replace("|", "\\|")
                text += f"- {said}: {', '.join(f'`{name}`' for name in sorted(names))}\n"
    return text
