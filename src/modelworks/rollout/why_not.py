"""Which gates keep a version out of production, with the evidence: from results to sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelworks.core.rollouts import Phase, Rollout


class State(StrEnum):
    """Of a gate."""

    PASSED = "passed"
    FAILED = "failed"
    STALE = "stale"  # passed, and what it was about has changed since
    WAITING = "waiting"  # is being judged
    MISSING = "missing"  # nobody asked it yet


_ORDER = (State.FAILED, State.STALE, State.WAITING, State.MISSING, State.PASSED)


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate said of a version.

    Attributes:
        name: `parity`, `quality`, `fairness`, `approval`, `rollout`, ...
        state: of it.
        said: why, in a sentence.
        evidence: where it can be read: a digest, a path, the name of a report.
        cure: what to do about it; a command where there is one.
        required: whether the version stays out without it.
    """

    name: str
    state: State
    said: str = ""
    evidence: str = ""
    cure: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Why not.

    Attributes:
        ready: no required gate keeps it out.
        sentence: all in one.
        sentences: of each gate that is not passed, what keeps it out first.
        gates: in the same order, the passed ones last.
    """

    ready: bool
    sentence: str
    sentences: tuple[str, ...]
    gates: tuple[Gate, ...]


def why_not(version: str, gates: Sequence[Gate]) -> Answer:
    """From gates' results to an answer.

    Args:
        version: that is asked about.
        gates: all that it has to pass, the missing ones too; without any it is not ready: nothing
            was asked.
    """
    ordered = sorted(gates, key=lambda gate: (not gate.required, _ORDER.index(gate.state)))
    ordered.sort(key=lambda gate: gate.state is State.PASSED)
    open_ = [gate for gate in ordered if gate.state is not State.PASSED]
    against = [gate for gate in open_ if gate.required]
    required = [gate for gate in gates if gate.required]
    sentences = tuple(_sentence(gate) for gate in open_)
    if not required:
        words = f"nothing says that {version} may go into production: no gate was asked"
    elif against:
        these = ", ".join(f"{gate.name} ({gate.state})" for gate in against)
        words = (
            f"{version} stays out of production: {len(against)} of {len(required)} gates "
            f"{'does' if len(against) == 1 else 'do'} not let it pass: {these}"
        )
    else:
        count = len(required)
        words = f"nothing keeps {version} out of production: {count} of {count} gates are passed"
    return Answer(bool(required) and not against, words, sentences, tuple(ordered))


def of_rollout(rollout: Rollout) -> Gate:
    """A roll-out as a gate of its candidates."""
    name = f"rollout {rollout.plan.name}"
    why = rollout.verdict.sentence if rollout.verdict else rollout.reason
    if rollout.phase is Phase.PROMOTED:
        return Gate(name, State.PASSED, why, rollout.plan.name)
    if rollout.phase in {Phase.ROLLED_BACK, Phase.ABORTED, Phase.INCONCLUSIVE}:
        cure = "make a better version; the roll-out's findings say in what"
        if rollout.phase is not Phase.ROLLED_BACK:
            cure = "roll it out again, with more traffic, more time or a wider margin"
        said = f"{rollout.phase}: {why or rollout.reason}"
        return Gate(name, State.FAILED, said, rollout.plan.name, cure)
    said = f"{rollout.phase}, step {rollout.step + 1} of {len(rollout.plan.steps)}"
    return Gate(name, State.WAITING, f"{said}: {why}" if why else said, rollout.plan.name)


def _sentence(gate: Gate) -> str:
    verbs = {
        State.FAILED: "failed",
        State.STALE: "passed, but of something that has changed since",
        State.WAITING: "is not decided yet",
        State.MISSING: "was not asked yet",
    }
    words = f"{gate.name} {verbs[gate.state]}"
    words += f": {gate.said}" if gate.said else ""
    words += f" (evidence: {gate.evidence})" if gate.evidence else ""
    words += f"; to do: {gate.cure}" if gate.cure else ""
    return words if gate.required else f"{words}; it keeps nothing out"
