"""Makes forms: passes one after the other, each in a process of its own, none of them twice."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec, digest
from modelworks.core.errors import (
    InvalidError,
    MissingExtraError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, settled
from modelworks.core.optimizing.recipes import Recipe, RecipeStep
from modelworks.core.optimizing.upgrades import stamped
from modelworks.core.optimizing.variants import Ending, Hardware
from modelworks.core.tensor import Signature
from modelworks.optimize import facts as known
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.memory import Cache, Made
from modelworks.optimize.running import rounds
from modelworks.sandbox import jobs
from modelworks.sandbox.jobs import Job
from modelworks.sandbox.limits import GIB, Limits

Say = Callable[[str], None]

LONGEST_S: Final = 1800.0
"""Seconds that one pass may take, however much time there is."""
_MEMORY: Final = 16 * GIB
NOT_NOW: Final = "not now"
"""How `Failure.why` begins where the pass is not to blame: a full disk."""
_ADVICE: Final = "; MODELWORKS_IMPORT"  # the sandbox's cure is one for imports


@dataclass(frozen=True, slots=True)
class Stock:
    """What all passes of a run are given.

    Attributes:
        signature: of the version, its steps included.
        digest: of its artifact.
        hardware: that the forms are made on.
        calibration: rows to calibrate by; None = there are none.
        threads: that a pass may use.
        seed: of everything drawn.
    """

    signature: Signature
    digest: str
    hardware: Hardware
    calibration: Rows | None = None
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no form.

    Attributes:
        ending: FAILED, or PRUNED where it was not tried.
        why: one sentence.
        late: the time was over, or the disk was full: this may be tried again.
    """

    ending: Ending
    why: str
    late: bool = False


class Workshop:
    """Makes the forms of one version.

    Args:
        cache: of forms.
        facts: of the passes, by name.
        source: the form that was imported.
        stock: what passes are given.
        runner: runs a job; `sandbox.jobs.run`.

    Attributes:
        source: as given.
        stock: as given.
    """

    def __init__(
        self,
        cache: Cache,
        facts: Mapping[str, PassFacts],
        source: Form,
        stock: Stock,
        runner: known.Runner = jobs.run,
    ) -> None:
        self.source = source
        self.stock = stock
        self._cache, self._facts, self._runner = cache, facts, runner
        self._made: dict[str, Made] = {}
        self._users: dict[str, set[str]] = {}
        rows = stock.calibration
        files = [] if rows is None else [one for one in (rows.inputs, rows.labels) if one]
        self._data = [digest.of_file(one) for one in files]

    def make(self, recipe: Recipe, until: float, say: Say) -> Form | Failure:
        """The form of a recipe without parts.

        Args:
            recipe: passes that were made before, at any time, are not run again.
            until: monotonic seconds at which the time is over.
            say: told what is done.
        """
        form, key = self.source, self.stock.digest
        for step in recipe.steps:
            facts = self._facts.get(step.name)
            if facts is None:
                return Failure(Ending.FAILED, f"there is no pass {step.name} here")
            try:
                key = self._key(key, step, facts)
                found = self._made.get(key) or self._cache.find(key)
                made = found or self._apply(form, step, key, until, say)
            except ModelworksError as error:
                return _failure(step.name, error)
            if isinstance(made, Failure):
                return made
            self._made[key] = made
            self._users.setdefault(key, set()).add(recipe.id)
            form = Form(recipe, made.folder, made.applied.format, self.source.signature)
        return replace(form, recipe=recipe)

    def applied(self, recipe: Recipe) -> Applied | None:
        """What the last pass of a recipe that was made said."""
        key = self.stock.digest
        for step in recipe.steps:
            key = self._key(key, step, self._facts[step.name])
        made = self._made.get(key)
        return None if made is None else made.applied

    def let_go(self, recipe: Recipe) -> None:
        """Its forms may go where the cache wants room; what another recipe uses too stays."""
        key = self.stock.digest
        for step in recipe.steps:
            facts = self._facts.get(step.name)
            if facts is None:
                return
            try:
                key = self._key(key, step, facts)
            except ModelworksError:  # a setting that cannot be: nothing was made of it
                return
            users = self._users.get(key, set())
            users.discard(recipe.id)
            if not users:
                self._users.pop(key, None)
                self._made.pop(key, None)
                self._cache.release(key)

    def exact(self, recipe: Recipe) -> bool:
        """Whether every pass of it, and how it is run, change answers by rounding only."""
        every = [step for one in (recipe, *recipe.parts) for step in one.steps]
        if rounds(recipe):
            return False
        return all(step.name in self._facts and self._facts[step.name].exact for step in every)

    def learns(self, recipe: Recipe) -> bool:
        """Whether a pass of it trains by the calibration rows."""
        every = (step.name for one in (recipe, *recipe.parts) for step in one.steps)
        told = [self._facts[name] for name in every if name in self._facts]
        return any(Need.LABELS in one.needs or one.mends or known.shrinks(one) for one in told)

    def environment(self, recipe: Recipe) -> dict[str, str]:
        """Versions of the libraries that its passes work with."""
        found: dict[str, str] = {}
        for one in (recipe, *recipe.parts):
            for step in one.steps:
                if step.name in self._facts:
                    found |= known.versions(self._facts[step.name])
        return dict(sorted(found.items()))

    def stamped(self, recipe: Recipe) -> Recipe:
        """The recipe with the versions of the passes that make it here."""
        return stamped(recipe, self._facts)

    def libraries(self) -> dict[str, str]:
        """The same of all passes."""
        found = {
            name: at for one in self._facts.values() for name, at in known.versions(one).items()
        }
        return dict(sorted(found.items()))

    def _key(self, before: str, step: RecipeStep, facts: PassFacts) -> str:
        """What the result depends on, and nothing else."""
        stock = self.stock
        told: list[Any] = [before, facts.name, facts.version, known.versions(facts)]
        told += [settled(facts, step.settings), step.keep, stock.hardware.kind, stock.seed]
        if facts.needs or facts.looks:
            told.append(self._data)
        text = json.dumps(codec.encode(told), sort_keys=True)
        return digest.of_bytes(text.encode()).removeprefix(digest.PREFIX)

    def _apply(
        self, form: Form, step: RecipeStep, key: str, until: float, say: Say
    ) -> Made | Failure:
        left = until - time.monotonic()
        if left < 1.0:
            return Failure(Ending.PRUNED, f"the time was over before {step.name}", late=True)
        seconds = min(left, LONGEST_S)
        began = time.monotonic()
        with self._cache.work() as work:
            try:
                value = self._runner(self._job(form, step, work, seconds), say).value
            except ModelworksError:
                if time.monotonic() - began < seconds:
                    raise
                words = f"{step.name} took longer than the {seconds:.0f} s that were left"
                return Failure(Ending.PRUNED, words, late=seconds < LONGEST_S)
            if value.get("unfit"):
                return Failure(Ending.PRUNED, f"{step.name}: {value['unfit']}")
            if value.get("late"):
                words = f"{step.name} takes about {value['late']:.0f} s, and {left:.0f} were left"
                return Failure(Ending.PRUNED, words, late=True)
            applied = codec.decode(Applied, value.get("applied"))
            if applied.format != self._facts[step.name].produces:
                words = f"it wrote {applied.format}, and {self._facts[step.name].produces} was told"
                raise InvalidError(words)
            return self._cache.put(key, work / "into", applied, time.monotonic() - began)

    def _job(self, form: Form, step: RecipeStep, work: Path, seconds: float) -> Job:
        stock, facts = self.stock, self._facts[step.name]
        rows = stock.calibration if facts.needs or facts.looks else None
        into = work / "into"
        into.mkdir()
        asked = PassJob(
            source=form.folder.absolute(),
            format=form.format,
            into=into.absolute(),
            signature=stock.signature,
            settings=settled(facts, step.settings),
            calibration=None if rows is None else rows.inputs.absolute(),
            labels=None if rows is None or rows.labels is None else rows.labels.absolute(),
            keep=step.keep,
            threads=stock.threads,
            seed=stock.seed,
        )
        reads = (asked.source, asked.calibration, asked.labels)
        limits = Limits(
            memory_bytes=_MEMORY,
            cpu_seconds=int(seconds * max(2, stock.threads)) + 60,
            wall_seconds=seconds,
            threads=stock.threads,
        )
        return Job(
            "modelworks.optimize.child:apply",
            {"pass": step.name, "job": codec.encode(asked), "seconds": seconds},
            work,
            limits,
            tuple(path for path in reads if path is not None),
        )


def _failure(name: str, error: ModelworksError) -> Failure:
    if isinstance(error, MissingExtraError):
        return Failure(Ending.PRUNED, known.missing(name, error.missing))
    words = error.message.partition(_ADVICE)[0]
    if isinstance(error, UnavailableError):
        return Failure(Ending.FAILED, f"{NOT_NOW}: {name}: {words}", late=True)
    ending = Ending.PRUNED if isinstance(error, NotFoundError) else Ending.FAILED
    return Failure(ending, f"{name}: {words}")
