"""A replay as evidence of a first step of 0 %: it fills up what little traffic there is.

Of later steps only what shares do not matter to: whether answers agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from modelworks.control.replaying.planned import RefOf, found_for
from modelworks.control.rollouts.evidence import Further, Gatherer
from modelworks.core.model import ModelVersion
from modelworks.core.rollouts import ArmEvidence, Plan, Sums
from modelworks.rollout.shadow.report import NAME

Metrics = Mapping[str, Sums]


def filled(
    others: Gatherer,
    show: Callable[[str], ModelVersion],
    ref_of: RefOf,
    step_of: Callable[[str], int],
) -> Gatherer:
    """A gatherer that adds what replays have left.

    Args:
        others: what else is known.
        show: one version, by reference.
        ref_of: model and version of an arm.
        step_of: number of the step in which a roll-out is.
    """

    def gather(plan: Plan, since_ns: int, until_ns: int) -> Mapping[str, Further]:
        known = others(plan, since_ns, until_ns)
        if not plan.replay or plan.steps[0].share > 0 or len(plan.candidates) > 1:
            return known
        (candidate,) = plan.candidates
        model, version = ref_of(plan, candidate)
        found = found_for(show(f"{model}:{version}"), plan, candidate)
        if found is None:
            return known
        both = found.stable, found.candidate
        if step_of(plan.name) > 0:
            both = _alike(both[0]), _alike(both[1])
        return added(known, plan.stable, both[0], candidate, both[1])

    return gather


def _alike(arm: ArmEvidence) -> ArmEvidence:
    """What shares do not matter to, and a later step so goes on with: whether answers agree."""
    slices = {where: {NAME: known[NAME]} for where, known in arm.slices.items() if NAME in known}
    metrics = {NAME: arm.metrics[NAME]} if NAME in arm.metrics else {}
    return ArmEvidence(arm.arm, 0, metrics=metrics, slices=slices)


def added(
    known: Mapping[str, Further], stable: str, was: ArmEvidence, candidate: str, now: ArmEvidence
) -> dict[str, Further]:
    """Both arms with what a replay has earned them.

    Pairs of a replay and pairs of copies add up: each has one request of either arm. What the
    stable arm alone has earned meanwhile has no other side, and does not go in.

    Args:
        known: version -> what is known beside.
        stable: name of that arm.
        was: the recorded answers'.
        candidate: name of that arm.
        now: the answers' to the replay.
    """
    one, other = known.get(stable, Further()), known.get(candidate, Further())
    metrics = _both((one.metrics, other.metrics), (was.metrics, now.metrics))
    slices = {
        name: _both(
            (one.slices.get(name, {}), other.slices.get(name, {})),
            (was.slices.get(name, {}), now.slices.get(name, {})),
        )
        for name in {**one.slices, **other.slices, **was.slices, **now.slices}
    }
    return {
        **known,
        stable: replace(one, metrics=metrics[0], slices={n: s[0] for n, s in slices.items()}),
        candidate: replace(
            other,
            metrics=metrics[1],
            slices={n: s[1] for n, s in slices.items()},
            requests=other.requests + now.requests,
        ),
    }


def _both(
    known: tuple[Metrics, Metrics], played: tuple[Metrics, Metrics]
) -> tuple[dict[str, Sums], dict[str, Sums]]:
    """Of the stable arm and the candidate."""
    found = dict(known[0]), dict(known[1])
    for name in {**played[0], **played[1]}:
        paired = known[1].get(name, Sums()).count > 0
        for into, before, more in zip(found, known, played, strict=True):
            if name in more:
                old = before.get(name) if paired else None
                into[name] = _sum(old or Sums(), more[name])
    return found


def _sum(one: Sums, other: Sums) -> Sums:
    """Of rates."""
    return replace(one, count=one.count + other.count, total=one.total + other.total)
