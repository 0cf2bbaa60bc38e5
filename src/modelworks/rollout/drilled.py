"""What a fire drill found, as it is kept: values alone, for whoever lists it needs no numpy."""

import hashlib
import json
from dataclasses import dataclass, replace

from modelworks.core import codec
from modelworks.core.rollouts import Finding, Plan


@dataclass(frozen=True, slots=True)
class Result:
    """One fault, put in.

    Attributes:
        fault: `failing`, `wrong`, `slow`, `biased`.
        metric: in which it has to show.
        slice: where; `*` = everywhere.
        share: of the requests (of the slice) that were spoilt, 0 to 1.
        delay_ms: that was added to them; 0 = none.
        expected: requests of the candidate after which the rules have enough, on average.
        within: the rules are allowed so many.
        allowed: those, and what reaches the candidate while counters and truth are on their way.
        requests: of the candidate (in the slice) until the traffic was back.
        seconds: from its first request until then.
        asked: requests of all callers.
        failed: requests that the fault failed.
        lost: requests that failed for another reason.
        passed: whether it went as it has to.
        sentence: what happened.
        findings: of the verdict, the worst first.
    """

    fault: str
    metric: str
    slice: str
    share: float
    delay_ms: float
    expected: int
    within: int
    allowed: int
    requests: int
    seconds: float
    asked: int
    failed: int
    lost: int
    passed: bool
    sentence: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Unseen:
    """A fault that was not put in, because nobody would see it.

    Attributes:
        fault: of it.
        sentence: why, and what to add.
        accepted: whoever asked for the drill accepts it.
    """

    fault: str
    sentence: str
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A whole drill.

    Attributes:
        model: whose traffic would be moved.
        stable: version that answered beside each broken candidate.
        plan: name of the roll-out whose plan was drilled; empty = the usual one.
        digest: of the plan; see `digest_of`.
        at_ns: UTC, when it began.
        seconds: that it took.
        actor: who asked for it.
        program: version of Modelworks, and its commit where it is known.
        rate: requests a second that were wanted.
        inputs: where the requests came from.
        passed: every fault was seen in time, and nobody is blind to one unless that is accepted.
        sentence: all in one.
        results: of each fault that was put in.
        unseen: the others.
        notes: in what the drill was unlike a roll-out.
    """

    model: str
    stable: str
    plan: str
    digest: str
    at_ns: int
    seconds: float
    actor: str
    program: str
    rate: float
    inputs: str
    passed: bool
    sentence: str
    results: tuple[Result, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()


def digest_of(plan: Plan) -> str:
    """Of all in a plan that judges: neither its name nor its arms nor what is replayed first.

    So two roll-outs of the same manifest with other versions have the same one.
    """
    bare = replace(plan, name="", stable="", candidates=(), replay=0.0)
    text = json.dumps(codec.encode(bare), sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def sentence_of(
    model: str, results: tuple[Result, ...], unseen: tuple[Unseen, ...]
) -> tuple[bool, str]:
    """Whether a drill is passed, and the whole of it in a sentence."""
    missed = [one.fault for one in results if not one.passed]
    blind = [one.fault for one in unseen if not one.accepted]
    seen = ", ".join(f"{one.fault} in {one.requests}" for one in results if one.passed)
    words = f"{model}: rolled back in time: {seen} requests" if seen else f"{model}: nothing seen"
    if missed:
        words += f"; not as it has to: {', '.join(missed)}"
    if blind:
        words += f"; blind to: {', '.join(blind)}"
    if accepted := [one.fault for one in unseen if one.accepted]:
        words += f"; accepted as unseen: {', '.join(accepted)}"
    return not missed and not blind and bool(results), words
