"""The search's bench of real parts: passes in the sandbox, rows, clocks and gates."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.by_rows import BY_ROWS
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.optimizing.passes import Applied
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Ending, Goal
from modelworks.core.tensor import Signature
from modelworks.optimize import arrays, asking, by_rows, timing
from modelworks.optimize.applying import Failure, Say, Workshop
from modelworks.optimize.bench import Judgement, Timed
from modelworks.optimize.calls import fixed_rows
from modelworks.optimize.data import Prepared
from modelworks.optimize.diverging.following import parting
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.glancing import Ahead
from modelworks.optimize.judging import judge, look
from modelworks.plugins.load import available

_FEW: Final = 64  # rows that show how far a form is from the source form
_LONGEST_S: Final = 300.0
_LEARNED: Final = 0.5  # trust in a glance at rows that passes learned from


@dataclass(slots=True)
class Workbench:
    """See `bench.Bench`.

    Attributes:
        workshop: makes forms.
        signature: of the version.
        goal: what is wanted.
        rows: for passes and for gates.
        work: an existing folder that goes with the run.
    """

    workshop: Workshop
    signature: Signature
    goal: Goal
    rows: Prepared
    work: Path
    _scales: timing.Scales = field(default_factory=timing.Scales)
    _own: dict[str, Path] = field(default_factory=dict)
    _few: Rows | None = None

    def make(self, recipe: Recipe, until: float, say: Say) -> Form | Failure:
        """See `bench.Bench.make`."""
        if not recipe.parts:
            return self.workshop.make(recipe, until, say)
        parts: list[Form] = []
        for part in recipe.parts:
            form = self.make(part, until, say)
            if isinstance(form, Failure):
                return form
            parts.append(form)
        into = self.work / f"joined-{recipe.id}"
        if not into.exists():
            part_of = self.work / f"joining-{recipe.id}"
            shutil.rmtree(part_of, ignore_errors=True)
            part_of.mkdir()
            try:
                by_rows.join(parts, recipe.rows, part_of)
            except InvalidError as error:
                return Failure(Ending.FAILED, error.message)
            part_of.rename(into)
        return Form(recipe, into, BY_ROWS, parts[0].signature)

    def applied(self, recipe: Recipe) -> Applied | None:
        """See `bench.Bench.applied`."""
        return self.workshop.applied(recipe)

    def let_go(self, recipe: Recipe) -> None:
        """See `bench.Bench.let_go`."""
        self.workshop.let_go(recipe)  # its parts may be forms of their own
        shutil.rmtree(self.work / f"joined-{recipe.id}", ignore_errors=True)

    def timed(self, forms: Sequence[Form], seconds: float) -> Timed:
        """See `bench.Bench.timed`."""
        found = timing.timed(
            self.workshop.source,
            forms,
            self.rows.evaluation,
            self.goal,
            self.work,
            seconds=seconds,
            scales=self._scales,
        )
        return Timed(found.source, found.forms, found.source.notes)

    def looked(self, form: Form, until: float) -> Judgement:
        """See `bench.Bench.looked`."""
        rows, deciding = self.rows.guide, self.rows.evaluation.count
        if rows is None:
            return Judgement(())
        learned = rows is self.rows.calibration and self.workshop.learns(form.recipe)
        ahead = Ahead(deciding, _LEARNED if learned else 1.0)
        exact = self.workshop.exact(form.recipe)
        with self._both(form, rows, "guide", until) as (own, got):
            found = look(own, got, rows, form.signature, self.goal, ahead=ahead, exact=exact)
        return Judgement(found.gates, found.worst)

    def judged(self, form: Form, until: float, level: float = 0.0) -> Judgement:
        """See `bench.Bench.judged`."""
        rows, exact = self.rows.evaluation, self.workshop.exact(form.recipe)
        goal = replace(self.goal, confidence=1 - level) if level > 0 else self.goal
        with self._both(form, rows, "all", until) as (own, got):
            found = judge(own, got, rows, form.signature, goal, exact=exact)
        return Judgement(found.gates, found.worst)

    @contextmanager
    def _both(self, form: Form, rows: Rows, name: str, until: float) -> Iterator[tuple[Path, Path]]:
        """Files with the source form's answers and the form's; the latter goes."""
        own = self._answers_of_source(name, rows, until)
        got = self._answers(form, rows, f"{name}-{form.recipe.id}", until)
        try:
            yield own, got
        finally:
            shutil.rmtree(got.parent, ignore_errors=True)

    def parts(self, form: Form, seconds: float) -> str:
        """See `bench.Bench.parts`."""
        source, known = self.workshop.source, available("viewers")
        if form.format not in known or source.format not in known:
            return ""
        few = self._few_rows()
        threads = self.goal.threads
        into = self.work / f"parts-{form.recipe.id}"
        try:
            into.mkdir(exist_ok=True)
            found = parting(source, form, few, into, blame=True, seconds=seconds, threads=threads)
        except (ModelworksError, OSError):
            return ""
        finally:
            shutil.rmtree(into, ignore_errors=True)
        return found.summary if found.first is not None else ""

    def difference(self, form: Form, until: float) -> float:
        """See `bench.Bench.difference`: mean distance of numbers, in the source's own spread."""
        few = self._few_rows()
        own = arrays.load(self._answers_of_source("few", few, until))
        path = self._answers(form, few, f"few-{form.recipe.id}", until)
        got = arrays.load(path)
        shutil.rmtree(path.parent, ignore_errors=True)
        far = [_far(own[name], got[name]) for name in own if name in got]
        return float(np.max(far, initial=0.0))  # NaN counts, in whatever output

    def _answers_of_source(self, name: str, rows: Rows, until: float) -> Path:
        if name not in self._own:
            self._own[name] = self._answers(self.workshop.source, rows, f"source-{name}", until)
        return self._own[name]

    def _answers(self, form: Form, rows: Rows, name: str, until: float) -> Path:
        into = self.work / name
        into.mkdir(exist_ok=True)
        seconds = min(_LONGEST_S, max(1.0, until - time.monotonic()))
        batches, threads = self.goal.batches, self.goal.threads
        return asking.answers(form, rows, into, threads, batches=batches, seconds=seconds)

    def _few_rows(self) -> Rows:
        rows = self.rows.calibration or self.rows.guide or self.rows.evaluation
        self._few = self._few or self._first(rows)
        return self._few

    def _first(self, rows: Rows) -> Rows:
        """The first few rows, in a file of their own."""
        specs = self.workshop.source.signature.inputs
        inputs = arrays.load(rows.inputs, specs)
        size = max(1, fixed_rows(self.workshop.source.signature) or 1)
        count = min(rows.count, max(size, _FEW // size * size))
        path = self.work / "few.npz"
        arrays.save(path, {name: array[:count] for name, array in inputs.items()})
        return Rows(path, count)


def _far(own: Any, got: Any) -> float:
    """How far numbers are apart, in the source's spread; of others, the share that differs."""
    if own.shape != got.shape:
        return float("inf")
    if own.dtype.kind != "f":
        return float(np.mean(own != got)) if own.size else 0.0
    spread = float(np.nanstd(own.astype(np.float64))) or 1.0
    apart = np.abs(own.astype(np.float64) - got.astype(np.float64))
    same_missing = np.isnan(own) & np.isnan(got)
    value = float(np.mean(np.where(same_missing, 0.0, apart)))
    return value / spread
