"""What a version has to pass before it answers, from its evidence and its roll-outs. Pure."""

from collections.abc import Sequence
from typing import Final

from modelworks.control.rollouts.kept import Kept
from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.rollout.why_not import Gate, State, of_rollout

_STATES: Final = {
    Verdict.PASSED: State.PASSED,
    Verdict.ACCEPTED: State.PASSED,
    Verdict.FAILED: State.FAILED,
    Verdict.SKIPPED: State.MISSING,
}
_CHECKS: Final = ("scan", "parity", "sandbox", "replay")
"""Evidence that is a gate; the rest says how it was made."""
_LATER: Final = frozenset({"replay"})
"""Those that are asked again and again: the newest counts, while it is about today's champion."""
_REQUIRED: Final = frozenset({"parity"})
_CURES: Final = {
    "parity": "import it again with a sample of its inputs: --sample FILE",
    "scan": "import it from a form that runs no code (ONNX, safetensors), or --trust it",
    "sandbox": "see the evidence: modelworks show",
    "replay": "modelworks replay {ref} --since 24h --speed max --allow 1%",
}


def gates_of(version: ModelVersion, rollouts: Sequence[Kept], champion: str) -> list[Gate]:
    """All gates of a version.

    Args:
        version: that is asked about.
        rollouts: of every model.
        champion: version that answers for its model now; empty = none is named.
    """
    mine = str(version.version)
    last = {one.kind: one for one in version.evidence}
    found = [
        _checked(version.ref, one, champion)
        for one in version.evidence
        if one.kind in _CHECKS and (one.kind not in _LATER or last[one.kind] is one)
    ]
    tried = [
        one.rollout
        for one in rollouts
        if one.rollout.plan.route == version.name and mine in one.rollout.plan.candidates
    ]
    if champion == mine:
        return [*found, Gate("rollout", State.PASSED, "it answers already: it is the champion")]
    if not tried:
        cure = "modelworks rollout start -f rollout.yaml"
        return [*found, Gate("rollout", State.MISSING, "no roll-out tried it", "", cure)]
    newest = max(tried, key=lambda one: one.changed_ns)
    return [*found, of_rollout(newest)]


def _checked(ref: str, evidence: Evidence, champion: str) -> Gate:
    state = _STATES[evidence.verdict]
    words = evidence.summary
    if evidence.verdict is Verdict.ACCEPTED:
        words = f"failed, and its owner accepted it: {words}"
    beside = evidence.detail.get("asked", {}).get("stable", champion)
    if evidence.kind in _LATER and state is State.PASSED and champion not in {"", beside}:
        state = State.STALE
    needed = evidence.kind in _REQUIRED or state is State.FAILED
    cure = "" if state is State.PASSED else _CURES[evidence.kind].format(ref=ref)
    return Gate(evidence.kind, state, words, f"modelworks show {ref}", cure, needed)
