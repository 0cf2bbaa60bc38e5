"""Reads a scikit-learn file and writes `model.onnx`; imported in the sandbox only."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skl2onnx
import sklearn

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions, Ranges
from modelworks.core.model import Verdict
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.tensor import Datatype, Signature, Tensors
from modelworks.evaluation.parity import ParityReport, tolerance_for
from modelworks.evaluation.probes import Probe, generate, known_range
from modelworks.evaluation.trial import against_source
from modelworks.ext.importers import samples
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.sklearn import boosted
from modelworks.ext.importers.sklearn import columns as finding
from modelworks.ext.importers.sklearn import ranges as ranging
from modelworks.ext.importers.sklearn.columns import Columns
from modelworks.ext.importers.sklearn.load import load
from modelworks.ext.importers.sklearn.source import Source, quiet
from modelworks.ext.importers.sklearn.translate import Converted, translate
from modelworks.ext.importers.sklearn.walk import every
from modelworks.plugins.load import load as plugin

_ROWS, _SAMPLE_ROWS, _LOOK = 64, 512, 11


def read(path: Path, into: Path, options: ImportOptions, source_format: str) -> Imported:
    """Load by the allow-list, convert, choose the precision; see `core.seams.Importer.read`."""
    loaded = load(path, source_format, trust=options.trust)
    sample = samples.read(options.sample) if options.sample is not None else None
    columns = finding.find(loaded.estimator, options, sample)
    trial = _Trial(loaded.estimator, columns, ranging.find(loaded.estimator, columns, sample), into)
    trial.sample = _sample(sample, columns)
    converted, notes = trial.best(options.seed)
    (into / "model.onnx").write_bytes(converted.model.SerializeToString(deterministic=True))
    return Imported(
        format="onnx",
        source_format=source_format,
        signature=converted.signature,
        predict=lambda inputs: trial.source.ask(converted.methods, inputs),
        environment={
            "scikit-learn": sklearn.__version__,
            "skl2onnx": skl2onnx.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
            **boosted.versions(loaded.estimator),
        },
        ranges=trial.ranges,
        notes=(*columns.notes, *notes, *converted.notes, *loaded.notes),
        kind=trial.kind,
        sample=trial.sample,
        wide_inputs=True,
        scan=loaded.scan,
    )


def _sample(sample: samples.Sample | None, columns: Columns) -> dict[str, Any] | None:
    if sample is None:
        return None
    return samples.tensors(
        sample, Signature(columns.inputs(), (), columns.layout, columns.features)
    )


class _Trial:
    """Converts in float32 and, where that is not enough, in float64."""

    def __init__(
        self, estimator: Any, columns: Columns, ranges: dict[str, Ranges], into: Path
    ) -> None:
        self.source = Source(estimator, columns)
        self.columns = columns
        self.ranges = ranges
        self.sample: dict[str, Any] | None = None
        names = {type(part).__name__ for part in every(estimator)}
        self.kind = "trees" if any(_is_tree(name) for name in names) else ""
        # skl2onnx writes trees for float32 only; those that we write take float64 as well
        self._may_widen = self.kind != "trees" or bool(boosted.steps(estimator))
        self._into = into
        self._engine: Engine = plugin("engines", "onnxruntime")()

    def best(self, seed: int) -> tuple[Converted, list[str]]:
        """The conversion to keep, and why.

        Raises:
            UnsupportedError: there is none.
        """
        numbers = any(c.datatype is Datatype.FP32 for c in self.columns.columns)
        first: Converted | None = None
        trouble: UnsupportedError | None = None
        try:
            first, passed = self._attempt(Datatype.FP32, seed)
            if passed:
                return first, []
        except UnsupportedError as error:
            trouble = error
        if numbers and self._may_widen:
            try:
                second, passed = self._attempt(Datatype.FP64, seed)
                if passed:
                    return second, ["float64, because float32 is not exact enough for this model"]
            except UnsupportedError as error:
                trouble = trouble or error
        if first is None:
            raise trouble or UnsupportedError("this model cannot be converted", field="file")
        return first, []

    def _attempt(self, real: Datatype, seed: int) -> tuple[Converted, bool]:
        rows = self._look(real)
        try:
            converted = translate(self.source, self.columns, real, rows, self._open)
            session = self._open(converted.model, converted.signature)
        except (InvalidError, RefusedError) as error:
            raise UnsupportedError(
                f"the conversion of this {type(self.source.estimator).__name__} does not run: "
                f"{error.message}",
                field="file",
            ) from error
        try:
            report = self._compare(converted, session, seed, missing=False)
            converted = self._with_missing(converted, session, seed)
        finally:
            session.close()
        return converted, report.verdict is not Verdict.FAILED

    def _with_missing(self, converted: Converted, session: Session, seed: int) -> Converted:
        """Whether NaN is legal: where the source accepts it and both then say the same.

        Where they differ, the endpoint shall refuse NaN rather than answer wrongly; but when the
        user's own sample has missing values the claim stays, and the parity check refuses it.
        """
        report = self._compare(converted, session, seed, missing=True)
        if report.verdict is Verdict.PASSED:
            return converted
        failed = report.verdict is Verdict.FAILED
        if failed and self.sample is not None and any(map(_has_nan, self.sample.values())):
            return converted
        notes = converted.notes
        if failed:
            note = "missing values are refused, as the conversion treats them unlike the source"
            notes = (*notes, f"{note}: {report.summary}")
        inputs = tuple(replace(spec, allow_nan=False) for spec in converted.signature.inputs)
        signature = replace(converted.signature, inputs=inputs)
        return replace(converted, signature=signature, notes=notes)

    def _compare(
        self, converted: Converted, session: Session, seed: int, *, missing: bool
    ) -> ParityReport:
        probes = generate(converted.signature, self.ranges, seed, _ROWS)
        probes = [p for p in probes if (p.name == "missing") is missing]
        if self.sample is not None:
            probes = [Probe(p.name, p.inputs) for p in probes]
            if not missing:
                rows = {name: a[:_SAMPLE_ROWS] for name, a in self.sample.items()}
                probes.insert(0, Probe("sample", rows, optional=False))
        return against_source(
            lambda inputs: self.source.ask(converted.methods, inputs),
            session,
            probes,
            tolerance_for(self.kind),
            wide_inputs=True,
            known_range=self.sample is not None or known_range(converted.signature, self.ranges),
        )

    def _look(self, real: Datatype) -> Tensors:
        """A few rows that the source accepts."""
        signature = Signature(
            self.columns.inputs(real), (), self.columns.layout, self.columns.features
        )
        if self.sample is not None and len(next(iter(self.sample.values()))) >= 2:
            return {name: array[:_LOOK] for name, array in self.sample.items()}
        rows = generate(signature, self.ranges, rows=_LOOK)[0].inputs
        trouble = self._refusal(rows)
        if trouble is not None:
            self.source.narrow = True
            if self._refusal(rows) is not None:
                raise InvalidError(
                    f"the estimator refuses generated rows ({reason(trouble)}): give a --sample",
                    field="sample",
                ) from trouble
        return rows

    def _refusal(self, rows: Tensors) -> Exception | None:
        """What the estimator says against these rows."""
        try:
            with quiet():
                table = self.source.table(rows)
                for name in ("predict", "transform"):
                    if hasattr(self.source.estimator, name):
                        getattr(self.source.estimator, name)(table)
                        break
        except Exception as error:  # noqa: BLE001 - whatever a stranger's estimator raises
            return error
        return None

    def _open(self, model: onnx.ModelProto, signature: Signature | None = None) -> Session:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.onnx").write_bytes(model.SerializeToString())
            return self._engine.load(Path(folder), EngineOptions(signature=signature))


def _has_nan(array: Any) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _is_tree(name: str) -> bool:
    return any(word in name for word in ("Tree", "Forest", "Boosting", "XGB", "LGBM"))
