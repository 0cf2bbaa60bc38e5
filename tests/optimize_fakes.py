"""A bench without passes, engines and clocks, for tests of the search: a table says all."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelworks.core.errors import CrashedError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.passes import Applied, PassFacts
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import (
    BatchTime,
    Ending,
    Gate,
    Goal,
    Hardware,
    Measurement,
    Objective,
)
from modelworks.core.tensor import Signature
from modelworks.optimize.applying import Failure, Say
from modelworks.optimize.bench import Judgement, Timed
from modelworks.optimize.facts import Have, Known
from modelworks.optimize.forms import Form
from modelworks.optimize.planning import Ground
from modelworks.optimize.run import Run, RunFile, read_run
from modelworks.optimize.search import Journal, Search
from modelworks.optimize.sketch import Kind, Sketch
from modelworks.optimize.standing import Watch, unwatched
from modelworks.optimize.trying import Pace

HARDWARE = Hardware("a processor", ("avx2",), 2, "x86-64 avx2")
SIGNATURE = Signature((), ())


def facts(name: str, **more) -> PassFacts:
    """A pass from ONNX to ONNX unless more is said."""
    given = {"consumes": ("onnx",), "produces": "onnx", "engine": "onnxruntime"} | more
    return PassFacts(name, 1, name, **given)


def recipe(*names: str, engine: str = "onnxruntime") -> Recipe:
    """Passes with their defaults."""
    return Recipe(tuple(RecipeStep(name) for name in names), Execution(engine))


def measurement(
    ratios: dict[int, float] | float = 1.0, size: int = 1000, memory: int = 8 << 20, noise=0.01
) -> Measurement:
    """Times of 1 and 16 rows."""
    told = ratios if isinstance(ratios, dict) else {1: ratios, 16: ratios}
    times = tuple(
        BatchTime(rows, one, one * 0.98, one * 1.02, (9, 10, 11), (9, 10, 11), 20, 100)
        for rows, one in told.items()
    )
    return Measurement(HARDWARE, 1, times, 0.1, memory, size, noise)


@dataclass
class Table:
    """What a form is like: by the names of its passes."""

    ratio: dict[int, float] | float = 1.0
    lost: bool = False  # a gate refuses it
    unlucky: bool = False  # the rows that decide refuse it, the others do not
    likely: float | None = None  # chance of a proof, as a glance says
    failure: Failure | None = None
    crash: bool = False  # when it is timed
    size: int = 1000
    operators: tuple[str, ...] = ()
    to_blame: frozenset[str] = frozenset()  # kept in float, they lose nothing


@dataclass
class FakeBench:
    """See `optimize.bench.Bench`; `stop_at` interrupts when so many forms were begun."""

    forms: dict[str, Table]
    stop_at: int = 0
    begun: list[str] = field(default_factory=list)
    looked_: list[str] = field(default_factory=list)
    judged_: list[str] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)  # of proofs
    left: list[str] = field(default_factory=list)  # titles of recipes that were let go
    followed: list[str] = field(default_factory=list)
    differed: int = 0

    def table(self, one: Recipe) -> Table:
        names = " ".join(step.name for step in one.steps)
        found = self.forms.get(one.title) or self.forms.get(names)
        if found is None and one.parts:
            return Table({1: 9.0, 16: 9.0})
        return found or Table()

    def make(self, one: Recipe, until: float, say: Say) -> Form | Failure:
        self.begun.append(one.id)
        if self.stop_at and len(self.begun) >= self.stop_at:
            raise KeyboardInterrupt
        table = self.table(one)
        return table.failure or Form(one, Path("/nowhere"), "onnx", SIGNATURE)

    def applied(self, one: Recipe) -> Applied | None:
        return Applied("onnx", self.table(one).operators)

    def let_go(self, one: Recipe) -> None:
        self.left.append(one.title)

    def timed(self, forms: Sequence[Form], seconds: float) -> Timed:
        found: list[Measurement | str] = []
        for form in forms:
            table = self.table(form.recipe)
            if table.crash:
                raise CrashedError("the engine died")
            share = 1.0
            if table.operators and form.recipe.steps:
                share = 1 - len(form.recipe.steps[-1].keep) / len(table.operators)
            ratio = table.ratio
            if not isinstance(ratio, dict):
                ratio = 1 + (ratio - 1) * share
            found.append(measurement(ratio, table.size))
        return Timed(measurement(), tuple(found))

    def looked(self, form: Form, until: float) -> Judgement:
        self.looked_.append(form.recipe.id)
        table = self.table(form.recipe)
        told = _gate(self._lost(form.recipe))
        return Judgement((told, Gate("likely", Verdict.SKIPPED, "so and so", value=table.likely)))

    def judged(self, form: Form, until: float, level: float = 0.0) -> Judgement:
        self.judged_.append(form.recipe.id)
        self.levels.append(level)
        return Judgement((_gate(self._lost(form.recipe) or self.table(form.recipe).unlucky),))

    def _lost(self, one: Recipe) -> bool:
        table = self.table(one)
        kept = set(one.steps[-1].keep) if one.steps else set()
        return table.lost and not (table.to_blame and table.to_blame <= kept)

    def parts(self, form: Form, seconds: float) -> str:
        self.followed.append(form.recipe.id)
        return "parts first at /layer2/Conv"

    def difference(self, form: Form, until: float) -> float:
        self.differed += 1
        table, kept = self.table(form.recipe), set(form.recipe.steps[-1].keep)
        return float(len(table.to_blame - kept)) + 0.001 * (len(table.operators) - len(kept))


def _gate(lost: bool) -> Gate:
    verdict = Verdict.FAILED if lost else Verdict.PASSED
    return Gate("accuracy", verdict, "lost 3 points" if lost else "all is well")


def ground(
    *passes: PassFacts, objective: Objective = Objective.P99, absent: dict[str, str] | None = None
) -> Ground:
    """A dense network in ONNX with rows and no labels."""
    known = Known({one.name: one for one in passes}, absent or {})
    have = Have(rows=True, labels=False, hardware=HARDWARE, objective=objective)
    goal = Goal(objective=objective, budget_s=60.0)
    return Ground("onnx", Sketch(Kind.DENSE), goal, known, have)


def searched(
    bench: FakeBench,
    plan: Ground,
    path: Path,
    pace: Pace | None = None,
    only: Recipe | None = None,
    watch: Watch = unwatched,
) -> Search:
    """A search whose journal lies at `path`: another one goes on from there."""
    known = read_run(path)
    run = Run("r", "m:1.0.0", "sha256:0", plan.goal, HARDWARE)
    file = RunFile(path)
    if known is None:
        file.begin(run)
    pace = pace or Pace(float("inf"), float("inf"), 1.0)
    journal = Journal(replace(known or run, goal=plan.goal), file, path, watch)
    return Search(bench, plan, journal, pace, lambda _: None, lambda: 1, only)


def endings(run: Run) -> dict[str, Ending]:
    """Title -> ending."""
    return {one.recipe.title.partition(" @")[0]: one.ending for one in run.findings}
