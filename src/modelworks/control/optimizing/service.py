"""The verbs of optimizing: search, tell what was found, hand out a recipe."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from modelworks.control.optimizing import making
from modelworks.control.optimizing.asked import Asked, check
from modelworks.control.optimizing.diverging import Shown, Wanted, diverge
from modelworks.control.optimizing.making import MadeForm
from modelworks.control.optimizing.place import KIND, Place, Say
from modelworks.control.optimizing.storing import Shelf
from modelworks.control.scratch import scratch
from modelworks.core import codec
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.lock import locked
from modelworks.core.model import ModelVersion
from modelworks.core.optimizing.passes import PassFacts
from modelworks.core.optimizing.upgrades import aged, every_step
from modelworks.core.optimizing.variants import Variant
from modelworks.core.reference import parse_ref
from modelworks.evaluation.diverging.found import Parting
from modelworks.optimize.facts import known_passes
from modelworks.optimize.memory import full
from modelworks.optimize.run import Run
from modelworks.optimize.standing import Watch, unwatched
from modelworks.plugins.load import available


class Optimizing:
    """The verbs.

    Args:
        real: where the version is registered.
        shelf: where its variants are kept.
    """

    def __init__(self, real: Shown, shelf: Shelf) -> None:
        self._real, self._shelf = real, shelf

    def optimize(self, ref: str, asked: Asked, say: Say, watch: Watch = unwatched) -> Run:
        """Look for better forms of a version; those that are kept become its variants.

        The same question again goes on where it was left, also after a kill; what is finished is
        not tried twice. Who interrupts it finds the best form so far among the variants.

        Args:
            ref: of the version.
            asked: what is wanted, by what rows.
            say: told how it goes.
            watch: told how the best forms stand.

        Raises:
            NotFoundError: no such version, or no pass of a name that was given.
            InvalidError: rows, labels, slices or a goal that cannot be.
            UnsupportedError: what cannot be optimized or measured here.
            ConflictError: another process optimizes the version right now.
            UnavailableError: the disk is full; what was finished is kept.
        """
        real = self._real
        version = real.show(ref)
        check(asked, version)
        try:
            with (
                _alone(real.home, version),
                scratch(real.home.run, "optimize") as work,
                ExitStack() as stack,
            ):
                return Place(real, self._shelf, version, asked, work, say, watch).run(stack)
        except OSError as error:
            raise full(Path(error.filename or real.home.root), error) from error

    def make(self, ref: str, asked: Asked, into: Path, say: Say) -> MadeForm:
        """Write the files of a recipe's form; nothing is measured or kept.

        Args:
            ref: of the version.
            asked: the recipe, rows for its passes, time.
            into: a folder that is empty or not there.
            say: told how it goes.

        Raises:
            NotFoundError: no such version, pass or file of rows.
            InvalidError: no recipe, or one of another version of its passes.
            UnsupportedError: what a pass cannot read; a library that is missing.
            ConflictError: `into` is not empty.
            CrashedError: a pass failed.
            UnavailableError: the disk is full.
        """
        real = self._real
        version = real.show(ref)
        making.check(asked, into)
        check(asked, version)
        try:
            with scratch(real.home.run, "optimize") as work:
                return making.make(Place(real, self._shelf, version, asked, work, say), into)
        except OSError as error:
            raise full(Path(error.filename or real.home.root), error) from error

    def report(self, ref: str) -> Run:
        """The newest run of a version; raises as `last_run`."""
        return last_run(self._real.show(ref))

    def variant(self, ref: str) -> Variant:
        """One variant, `fraud:1.2.0#int8`.

        Raises:
            InvalidError: the reference names none.
            NotFoundError: no such version or variant.
        """
        found = parse_ref(ref, variants=True)
        if not found.variant:
            raise InvalidError(f"'{ref}' names no variant: {ref}#NAME is wanted", field="ref")
        return self._shelf.variant(str(found.of_version), found.variant)

    def aged(self, variant: Variant) -> list[str]:
        """What has changed here since a variant was made, a sentence a pass; see `upgrades`.

        Raises:
            UnavailableError: the disk is full.
        """
        wanted = {step.name for step in every_step(variant.recipe)} & set(available("passes"))
        facts: Mapping[str, PassFacts] = {}
        if wanted:
            home = self._real.home
            with scratch(home.run, "optimize") as work:
                facts = known_passes(sorted(wanted), home.optimize / "facts.json", work).facts
        return aged(variant.recipe, facts)

    def diverge(self, ref: str, wanted: Wanted, say: Say) -> Parting:
        """Where another form parts from the imported one; see `diverging.diverge`.

        Args:
            ref: of the version, with `#NAME` of a variant.
            wanted: rows, recipe, tolerance.
            say: told how it goes.

        Raises:
            NotFoundError: no such version, variant or file.
            InvalidError: both a variant and a recipe; rows that do not fit.
            UnsupportedError: a format that nobody can look into.
        """
        found = parse_ref(ref, variants=True)
        if found.variant and wanted.recipe is not None:
            raise InvalidError("a variant and a recipe: which is the other form?", field="recipe")
        real = self._real
        version = real.show(str(found.of_version))
        with scratch(real.home.run, "optimize") as work:
            return diverge(real, self._shelf, version, found.variant, wanted, work, say)


def last_run(version: ModelVersion) -> Run:
    """The newest run that a version has evidence of.

    Raises:
        NotFoundError: there is none.
    """
    for one in reversed(version.evidence):
        if one.kind == KIND:
            return codec.decode(Run, one.detail)
    raise NotFoundError(
        f"{version.ref} was not optimized yet: modelworks optimize {version.ref}", field="ref"
    )


@contextmanager
def _alone(home: Home, version: ModelVersion) -> Iterator[None]:
    """One search a version at a time on this machine.

    Raises:
        ConflictError: there is one.
    """
    name = f"{version.tenant}-{version.name}-{version.version}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(home.optimize / "locks" / name, wait_s=0.0))
        except UnavailableError as error:
            raise ConflictError(
                f"{version.ref} is being optimized by another process: wait for it, or end it"
            ) from error
        except OSError as error:
            raise full(home.optimize, error) from error
        yield
