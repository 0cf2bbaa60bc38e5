"""What is asked of an optimization, and what can be refused of it before any work."""

import json
from dataclasses import dataclass, field, replace
from importlib.metadata import version as installed

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError, NotFoundError, UnsupportedError
from modelworks.core.graphs import GRAPH
from modelworks.core.model import ModelVersion
from modelworks.core.native import NATIVE
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Goal, Hardware, Objective
from modelworks.core.served import ENGINES
from modelworks.optimize import data
from modelworks.optimize.energy import energy_counters
from modelworks.optimize.facts import Known, versions
from modelworks.optimize.hardware import this_machine


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked.

    Attributes:
        goal: what is wanted, and how much may be lost for it.
        rows: files, label, slices.
        passes: that may be used; none = all that are installed.
        again: forget what an earlier run found.
        recipe: try this one alone.
    """

    goal: Goal = field(default_factory=Goal)
    rows: data.Asked = field(default_factory=data.Asked)
    passes: tuple[str, ...] = ()
    again: bool = False
    recipe: Recipe | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the passes whose facts are needed."""
        if self.recipe is None:
            return self.passes
        every = (self.recipe, *self.recipe.parts)
        return tuple(sorted({step.name for one in every for step in one.steps}))


def check(asked: Asked, version: ModelVersion) -> None:
    """Refuse what cannot be.

    Raises:
        InvalidError: a goal out of its bounds, cost without a price.
        NotFoundError: a file of rows that is not there.
        UnsupportedError: energy where nobody can read it; a format without an engine.
    """
    for name, path in (("eval", asked.rows.evaluation), ("calibration", asked.rows.calibration)):
        if path is not None and not path.exists():
            raise NotFoundError(f"no file {path}", field=name)
        if path is not None and path.is_dir():
            raise InvalidError(f"{path} is a folder: a file of rows is wanted", field=name)
    goal = asked.goal
    goal.check()
    cores = this_machine().cores
    if goal.threads > cores:
        raise InvalidError(
            f"threads: {goal.threads}, and this process may use {cores} cores: what more threads "
            "do cannot be measured here",
            field="threads",
        )
    if goal.objective is Objective.COST and not goal.price:
        raise InvalidError(
            "cost is time times a price: say with --price what an hour of this machine costs",
            field="price",
        )
    if goal.objective is Objective.ENERGY and not energy_counters():
        raise UnsupportedError(
            "the energy of this machine cannot be read (no RAPL counter below /sys/class/powercap "
            "that this user may open): --objective p99 is what comes nearest",
            field="objective",
        )
    format_ = version.artifact.format
    if format_ == GRAPH:
        raise UnsupportedError(
            f"{version.ref} is a graph, and has nothing of its own to optimize: optimize the "
            "models that it asks",
            field="ref",
        )
    if format_ == NATIVE or format_ not in ENGINES:
        raise UnsupportedError(
            f"{version.ref} is a {format_} model, run by its own framework: no pass reads it; "
            "import it converted (without --runtime native) to optimize it",
            field="ref",
        )


def run_id(asked: Asked, version: ModelVersion, known: Known, hardware: Hardware) -> str:
    """The same for the same question on the same machine with the same libraries.

    How long it may take is no part of it: more time goes on where less has ended.
    """
    rows = asked.rows
    files = [digest.of_file(one) if one else "" for one in (rows.calibration, rows.evaluation)]
    libraries = {
        name: [facts.version, versions(facts)] for name, facts in sorted(known.facts.items())
    }
    told = [
        installed("modelworks"),
        version.tenant,
        version.ref,
        version.artifact.digest,
        codec.encode(replace(asked.goal, budget_s=1.0)),
        files,
        [rows.label, list(rows.slices), rows.seed, rows.most],
        codec.encode(asked.recipe),
        list(asked.passes),
        hardware.kind,
        libraries,
    ]
    return digest.of_bytes(json.dumps(told, sort_keys=True).encode())[len(digest.PREFIX) :][:16]
