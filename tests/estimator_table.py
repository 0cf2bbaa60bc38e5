"""Imports examples from joblib files through the sandbox and tells how each went."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import sklearn

import estimator_zoo as zoo
from modelworks.core.errors import ModelworksError
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Signature
from modelworks.intake.service import Candidate, bring_in
from modelworks.sandbox.jobs import Warm

DOC = Path(__file__).parent.parent / "docs" / "estimators.md"
MODULES = (
    "modelworks.intake.job",
    "modelworks.ext.importers.sklearn.convert",
    "modelworks.ext.engines.onnxruntime",
    "sklearn.ensemble",
    "sklearn.utils.discovery",
)
_HEAD = """# scikit-learn estimators

Every public estimator of scikit-learn {version}, and pipelines as people write them: fitted on a
small table, saved with joblib, imported as `modelworks import` does it, in the sandbox. A test
writes this page (`MODELWORKS_WRITE_DOCS=1 python -m pytest tests/long/test_estimator_table.py`) and
fails when a result changes.

"imported" means that the converted model predicted what the source predicts, by the rules of
[decision 0008](decisions/0008-parity.md): on rows in the training range, with missing values where
the source takes them, zeros, negatives and unknown categories. The difference is the largest one
there. Everything else is refused with the reason: nothing is served that predicts something else.

{imported} of {total} are imported.

| estimator or pipeline | result | inputs | NaN | rows | largest difference |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One example: what came out, or why nothing did."""

    name: str
    imported: bool
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it stands in the table."""
        return f"| {' | '.join((self.name, *self.cells))} |"


def examples() -> dict[str, Any]:
    """Name -> fitted estimator, or the exception that fitting it raised."""
    found: dict[str, Any] = {}
    for name in zoo.every_estimator():
        try:
            found[name] = zoo.fitted(name)
        except Exception as error:  # noqa: BLE001 - the table says what
            found[name] = error
    return found | zoo.pipelines()


def line(name: str, estimator: Any, folder: Path, warm: Warm) -> Line:
    """Import one example."""
    if isinstance(estimator, Exception):
        return Line(name, False, (f"cannot be fitted here: {estimator}"[:160], "", "", "", ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        joblib.dump(estimator, folder / "model.joblib")
    try:
        candidate = bring_in(
            folder / "model.joblib", ImportOptions(), folder / "work", runner=warm.run
        )
    except ModelworksError as error:
        assert "\n" not in error.message
        assert len(error.message) <= 500
        return Line(name, False, (f"refused: {_short(error.message)}", "", "", "", ""))
    return Line(name, True, _cells(candidate))


def _cells(candidate: Candidate) -> tuple[str, ...]:
    parity = next(e.detail for e in candidate.evidence if e.kind == "parity")
    difference = f"{parity['max_absolute']:.0e}" if parity["max_absolute"] else "0"
    return (
        "imported",
        _inputs(candidate.signature),
        "yes" if any(spec.allow_nan for spec in _floats(candidate.signature)) else "",
        str(parity["rows"]),
        difference,
    )


def _floats(signature: Signature) -> list[Any]:
    return [spec for spec in signature.inputs if spec.datatype.value.startswith("FP")]


def _inputs(signature: Signature) -> str:
    kinds = sorted({spec.datatype.value for spec in signature.inputs})
    return f"{signature.layout.value}, {' and '.join(kinds)}"


def _short(message: str) -> str:
    message = message.partition("; --accept-difference")[0].replace("|", "\\|")
    return message if len(message) <= 160 else message[:157] + "..."


def page(lines: list[Line]) -> str:
    """The whole document."""
    head = _HEAD.format(
        version=sklearn.__version__,
        imported=sum(each.imported for each in lines),
        total=len(lines),
    )
    return head + "\n".join(each.text for each in lines) + "\n"


def documented() -> dict[str, bool]:
    """Name -> imported, as the page says."""
    rows = [row.split(" | ") for row in DOC.read_text().splitlines() if row.startswith("| ")][1:]
    return {row[0].removeprefix("| "): row[1] == "imported" for row in rows}
