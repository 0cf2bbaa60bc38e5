"""Post-training int8 by NNCF that gives operators back to float until accuracy is kept."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.core.tensor import Role, Signature, TensorSpec
from modelworks.ext.engines.openvino_model import signature_of
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes.nncf_int8 import notes, unfit
from modelworks.ext.passes.nncf_parts import (
    CALIBRATING,
    calibrating,
    changed,
    check_keep,
    nncf,
    quietly,
    smoothing,
)
from modelworks.ext.passes.nncf_rows import Calls, read_calls
from modelworks.ext.passes.openvino_parts import IR, ONNX, read_source, write_ir
from modelworks.protocol.tensors import FLOATS

_MOST_ROWS: Final = 10_000
_WANTED: Final = "one output [rows, classes] is wanted, or a label"


class NncfAccuracy:
    """The pass `nncf_accuracy`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="nncf_accuracy",
        version=1,
        title="int8 by NNCF, static, as far as accuracy allows",
        consumes=(ONNX, IR),
        produces=IR,
        engine="openvino",
        needs=frozenset({Need.ROWS, Need.LABELS}),
        settings=(
            *CALIBRATING,
            Setting(
                "max_drop",
                default=0.005,
                help="share of the calibration rows whose answer may become wrong",
                least=0.0,
                most=1.0,
            ),
        ),
        keeps=True,
        libraries=("nncf", "numpy", "onnx", "openvino"),
        extra="optimize-openvino",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """As `nncf_int8`, and there must be a class to tell; see `core.seams.Pass`."""
        signature = own_signature(job.source, job.signature)
        return unfit(job) or ("" if _telling(signature) else f"nothing tells a class: {_WANTED}")

    def apply(self, job: PassJob) -> Applied:
        """Calibrate, round, judge by the labels, give back; see `core.seams.Pass`."""
        model = read_source(self.facts, job)
        check_keep(self.facts, model, job.keep)
        judge = _Judge(self.facts, job)
        calls = read_calls(job, job.settings["subset_size"])
        given = calibrating(model, job.settings, job.keep)
        names = [spec.name for spec in signature_of(model).outputs]
        with quietly(self.facts, job.threads):
            result = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset(calls),
                nncf.Dataset(judge.rows),
                judge.right(names.index(judge.output.name)),
                max_drop=job.settings["max_drop"],
                advanced_quantization_parameters=smoothing(job.settings),
                **given | {"subset_size": len(calls)},
            )
        operators = changed(result)
        if not operators and not job.keep:
            raise UnsupportedError(
                f"{self.facts.name}: with any operator rounded, more than "
                f"{job.settings['max_drop']:g} of the answers are wrong"
            )
        write_ir(self.facts, job, result)
        said = f"judged by the labels of {len(judge.rows)} rows"
        return Applied(
            IR, operators, (*notes(job, given, len(calls)), said), {"quantized": len(operators)}
        )


def _telling(signature: Signature) -> TensorSpec | None:
    """The output that says the class."""
    for role in (Role.PROBABILITIES, Role.LABEL):
        found = signature.output(role)
        if found is not None:
            return found
    scores = [s for s in signature.outputs if s.datatype in FLOATS and len(s.shape) == 2]
    wide = [spec for spec in scores if spec.shape[1] != 1]
    return wide[0] if len(wide) == 1 else None


class _Judge:
    """Compares answers with labels."""

    def __init__(self, facts: PassFacts, job: PassJob) -> None:
        signature = own_signature(job.source, job.signature)
        output = _telling(signature)
        if output is None:
            raise UnsupportedError(f"{facts.name}: nothing tells a class: {_WANTED}")
        self.output = output
        self.rows: Calls = read_calls(job, _MOST_ROWS)
        self._classes = signature.classes or job.signature.classes
        self._labels = _labels(job, self.rows.places)

    def right(
        self, place: int
    ) -> Callable[[Any, Iterable[dict[str, Any]]], tuple[float, list[float]]]:
        """NNCF's validation function: accuracy, and 1 or 0 for each row.

        Args:
            place: of the output among those of OpenVINO's model.
        """

        def judged(compiled: Any, rows: Iterable[dict[str, Any]]) -> tuple[float, list[float]]:
            request = compiled.create_infer_request()
            said = [np.asarray(request.infer(row)[place])[0] for row in rows]
            good = [
                float(_same(self._told(one), label))
                for one, label in zip(said, self._labels, strict=False)
            ]
            return sum(good) / max(len(good), 1), good

        return judged

    def _told(self, answer: Any) -> Any:
        if self.output.role is Role.LABEL:
            return np.asarray(answer).reshape(-1)[0].item()
        best = int(np.argmax(answer))
        return self._classes[best] if best < len(self._classes) else best


def _same(said: Any, label: Any) -> bool:
    if isinstance(said, bytes):
        said = said.decode(errors="replace")
    if isinstance(label, str):
        return str(said) == label
    return bool(said == label)


def _labels(job: PassJob, places: Sequence[int]) -> list[Any]:
    """The labels of those rows."""
    if job.labels is None:
        raise InvalidError("labels are needed, and none were given", field="labels")
    try:
        found = np.load(job.labels, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidError(f"{job.labels.name} is no npy file of labels", field="labels") from error
    if found.ndim != 1 or len(found) <= max(places):
        raise InvalidError(
            f"{job.labels.name} has the shape {list(found.shape)}; one label a calibration row is "
            "wanted",
            field="labels",
        )
    return [found[place].item() for place in places]
