"""One run of the search over a registered version: its place, its journal, what it leaves."""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from modelworks.control.optimizing.asked import Asked, run_id
from modelworks.control.optimizing.storing import Shelf, store
from modelworks.core import codec
from modelworks.core.errors import (
    CorruptError,
    ModelworksError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.upgrades import checked, every_step
from modelworks.core.optimizing.variants import Ending, Finding
from modelworks.core.served import ENGINES
from modelworks.core.stepped import read_stepped
from modelworks.optimize import data
from modelworks.optimize.applying import Failure, Stock, Workshop
from modelworks.optimize.facts import Have, Known, known_passes
from modelworks.optimize.forms import Form
from modelworks.optimize.hardware import this_machine
from modelworks.optimize.memory import Cache, full
from modelworks.optimize.often import often
from modelworks.optimize.planning import Ground
from modelworks.optimize.run import Run, RunFile, read_run, sweep
from modelworks.optimize.search import Journal, Search
from modelworks.optimize.sketch import sketch
from modelworks.optimize.standing import Watch, unwatched
from modelworks.optimize.trying import Pace, unfinished
from modelworks.optimize.workbench import Workbench

Say = Callable[[str], None]

KIND: Final = "optimized"
"""Of the evidence that a run leaves on its version."""


class Real(Protocol):
    """The installation whose version is optimized."""

    home: Home

    def show(self, ref: str) -> ModelVersion:
        """One version."""
        ...

    def materialise(self, ref: str) -> Path:
        """The folder with a version's files."""
        ...

    def note_evidence(self, ref: str, found: Evidence) -> ModelVersion:
        """Keep what was found of a version."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """One run, with all that it needs."""

    real: Real
    shelf: Shelf
    version: ModelVersion
    asked: Asked
    work: Path
    say: Say
    watch: Watch = unwatched

    def run(self, stack: ExitStack) -> Run:
        """Search, and keep what was found.

        Args:
            stack: closes what is opened here.
        """
        began, began_ns = time.monotonic(), now_ns()
        asked, say = self.asked, self.say
        say("preparing rows")
        folder = self.real.materialise(self.version.ref)
        signature = self.version.signature
        rows = data.prepared(signature, asked.rows, folder, self._room("rows"))
        say("reading what the passes say of themselves")
        known = self._known()
        shop = self._workshop(stack, known, folder, rows)
        bench = Workbench(shop, signature, asked.goal, rows, self._room("bench"))
        journal = self._journal(
            Run(
                id=run_id(asked, self.version, known, shop.stock.hardware),
                model=self.version.ref,
                digest=self.version.artifact.digest,
                goal=asked.goal,
                hardware=shop.stock.hardware,
                data=rows.facts,
                environment=shop.libraries(),
                notes=self._upgraded(known),
                began_ns=began_ns,
            )
        )
        if _finished(journal.run):
            say("this was searched before: nothing is tried again (--again begins anew)")
            stored = self._stored(journal, bench, journal.run)
            if not self._noted(stored):  # it was killed in between
                self._note(stored)
            return stored
        ground = self._ground(known, shop, rows)
        pace = Pace.of(asked.goal.budget_s, began)
        search = Search(bench, ground, journal, pace, say, now_ns, asked.recipe)
        try:
            ended = search.run()
        except BaseException:
            self._leave_best(search, journal, bench)
            raise
        stored = self._stored(journal, bench, ended)
        self._note(stored)
        return stored

    def shop(self, stack: ExitStack, folder: Path, rows: data.Prepared) -> Workshop:
        """Where forms are made by the recipe that was asked for; raises as `run`."""
        known = self._known()
        self._upgraded(known)
        return self._workshop(stack, known, folder, rows)

    def _known(self) -> Known:
        """The passes that may be used.

        Raises:
            UnsupportedError: one of the recipe cannot be.
        """
        asked = self.asked
        if asked.recipe is not None and not asked.wanted:
            return Known({}, {})
        memory = self.real.home.optimize / "facts.json"
        known = known_passes(asked.wanted, memory, self._room("facts"))
        if asked.recipe is not None and known.absent:
            raise UnsupportedError(next(iter(known.absent.values())), field="recipe")
        return known

    def _upgraded(self, known: Known) -> tuple[str, ...]:
        """What is to be known of a recipe that other versions of its passes wrote.

        Raises:
            InvalidError: it cannot be applied by those that are here.
        """
        steps = () if self.asked.recipe is None else every_step(self.asked.recipe)
        told = [checked(one, known.facts[one.name]) for one in steps]
        return tuple(dict.fromkeys(one for one in told if one))

    def _workshop(
        self, stack: ExitStack, known: Known, folder: Path, rows: data.Prepared
    ) -> Workshop:
        """Where forms are made of the version's artifact."""
        version, goal = self.version, self.asked.goal
        stepped = read_stepped(folder)
        inner = version.signature if stepped is None else stepped.model
        inner = replace(inner, classes=version.signature.classes)
        format_ = version.artifact.format
        source = Form(Recipe(run=Execution(ENGINES[format_])), folder, format_, inner)
        hardware = this_machine()
        stock = Stock(
            signature=version.signature,
            digest=version.artifact.digest,
            hardware=hardware,
            calibration=rows.calibration,
            threads=max(goal.threads, min(2, hardware.cores)),
            seed=self.asked.rows.seed,
        )
        cache = stack.enter_context(Cache(self.real.home.optimize / "cache"))
        return Workshop(cache, known.facts, source, stock)

    def _ground(self, known: Known, shop: Workshop, rows: data.Prepared) -> Ground:
        """What the plan is made for."""
        calibration, source, goal = rows.calibration, shop.source, self.asked.goal
        outline = sketch(source.folder, source.format)
        have = Have(
            rows=calibration is not None,
            labels=calibration is not None and calibration.labels is not None,
            hardware=shop.stock.hardware,
            objective=goal.objective,
            kind=outline.kind,
        )
        rows_file = None if calibration is None else calibration.inputs
        sizes = often(source.signature.inputs, rows_file)
        return Ground(source.format, outline, goal, known, have, sizes)

    def _room(self, name: str) -> Path:
        room = self.work / name
        room.mkdir()
        return room

    def _journal(self, run: Run) -> Journal:
        """The run's file, with what an earlier one of the same question left in it."""
        path = self.real.home.optimize / "runs" / f"{run.id}.jsonl"
        try:
            if self.asked.again:
                path.unlink(missing_ok=True)
            known = read_run(path)
            if known is None:
                path.unlink(missing_ok=True)
                sweep(path.parent)
            file = RunFile(path)
            if known is None:
                file.begin(run)
        except CorruptError as error:
            raise CorruptError(f"{error.message}; --again begins anew") from error
        except OSError as error:
            raise full(path, error) from error
        found = known or run
        return Journal(replace(found, goal=self.asked.goal), file, path, self.watch)

    def _stored(self, journal: Journal, bench: Workbench, run: Run) -> Run:
        """The run, every form that was kept being a variant with a name."""
        there = {one.name for one in self.shelf.variants(self.version.ref)}
        findings = []
        for finding in run.findings:
            if finding.ending is not Ending.KEPT or finding.variant in there:
                findings.append(finding)
                continue
            findings.append(self._variant(journal, bench, run, finding))
        return replace(run, findings=tuple(findings))

    def _variant(self, journal: Journal, bench: Workbench, run: Run, finding: Finding) -> Finding:
        form = bench.make(finding.recipe, time.monotonic() + 60.0, self.say)
        if isinstance(form, Failure):
            raise UnavailableError(f"{finding.recipe.title} is gone again: {form.why}")
        assert run.source is not None  # noqa: S101 - what is kept was measured beside it
        shop = bench.workshop
        parts = (self.shelf, self.version, finding, form, run.source, self.asked.goal, shop)
        named = replace(finding, variant=store(*parts).name)
        try:
            journal.file.finding(named)
        except OSError as error:
            raise full(journal.path, error) from error
        return named

    def _leave_best(self, search: Search, journal: Journal, bench: Workbench) -> None:
        """Who ends it early keeps the best form so far that is proved now, or was."""
        with suppress(ModelworksError, OSError):
            best = search.best()
            if best is None:
                return
            found = self._variant(journal, bench, search.so_far(), best)
            self.say(f"{self.version.ref}#{found.variant} is the best form so far, and kept")

    def _noted(self, run: Run) -> bool:
        """Whether the version has evidence of it."""
        told = (one.detail for one in self.version.evidence if one.kind == KIND)
        return any(one.get("id") == run.id for one in told)

    def _note(self, run: Run) -> None:
        """Evidence on the version, and an audit row."""
        found = Evidence(KIND, Verdict.PASSED, run.conclusion, codec.encode(run))
        self.real.note_evidence(self.version.ref, found)


def _finished(run: Run) -> bool:
    """Whether nothing is left that more time could try."""
    return bool(run.conclusion) and not any(unfinished(one) for one in run.findings)
