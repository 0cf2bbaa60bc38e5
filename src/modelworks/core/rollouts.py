"""A roll-out: traffic moves to another version step by step, and only on evidence.

`rollout` decides from a `Plan` and `Evidence` (pure); `control` gathers the evidence, writes the
routes and keeps the history.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Strategy(StrEnum):
    """How traffic moves."""

    CANARY = "canary"  # step by step, each judged
    BLUE_GREEN = "blue-green"  # judged on shadows or replay, then all at once, the old one kept
    EXPERIMENT = "experiment"  # A/B/n: fixed shares until there is a winner
    SHADOW = "shadow"  # copies only; answers are compared
    BANDIT = "bandit"  # shares follow what is earned


class Direction(StrEnum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"


class Kind(StrEnum):
    """What a metric is made of; says which sequential test judges it."""

    RATE = "rate"  # events among requests: errors, clicks, right answers
    MEAN = "mean"  # of a bounded or scaled figure: cost, revenue
    QUANTILE = "quantile"  # of a latency
    RATIO = "ratio"  # of two sums by unit: the delta method
    GIVEN = "given"  # somebody else measures it, with an interval: quality, drift


@dataclass(frozen=True, slots=True)
class Metric:
    """What is looked at.

    Attributes:
        name: `error_rate`, `latency_p99_ms`, `accuracy`, `revenue`, `drift`, ...
        kind: of it.
        direction: which way it is better.
        margin: how much worse is not yet harm, in the metric's own unit (0.005 = half a point);
            with `relative` a share of the stable arm's.
        relative: see `margin`.
        quantile: of a QUANTILE, 0.99.
        low: smallest value of a MEAN.
        high: largest value of a MEAN; no more than `low` = no bounds are known, and the test is one
            for large samples.
        absolute: the candidate's own figure is held against the margin, nothing is taken off it:
            it says already how far the candidate is from the stable arm (disagreement, drift).
            Of RATE and GIVEN.
        labelled: it needs the truth, which comes late: see `Plan.labels`.
    """

    name: str
    kind: Kind
    direction: Direction
    margin: float = 0.0
    relative: bool = False
    quantile: float = 0.99
    low: float = 0.0
    high: float = 1.0
    absolute: bool = False
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A share, and how long it stands at the least.

    Attributes:
        share: of the traffic that the candidate gets, 0 to 1; 0 = shadows only. Several candidates
            share it evenly.
        bake_s: the step lasts so long at the least.
        sample: requests of the candidate in this step at the least.
    """

    share: float
    bake_s: float = 0.0
    sample: int = 0


class OnInconclusive(StrEnum):
    """What happens when time is up and nothing is proved."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a roll-out does and what it may risk.

    Attributes:
        name: of the roll-out.
        route: whose traffic moves.
        stable: arm that answers now.
        candidates: arms that are tried; one but for an experiment or a bandit.
        strategy: how.
        steps: in order; the last share is 1 where the candidate is to take all.
        primary: what has to be no worse (canary) or better (experiment).
        superiority: the primary has to be better, not just no worse.
        guardrails: none of them may be harmed.
        slices: every one must be no worse in the primary (Holm); names of a slice as records say
            them, `country=de`.
        false_rollback: chance of rolling back what is no worse than the margins, over the whole
            roll-out and however often it is looked at.
        false_promotion: chance of promoting what is worse than a margin.
        sample: requests of a candidate in the step that ends in promotion.
        on_inconclusive: when `most_s` is over.
        most_s: longest duration.
        replay: hours of recorded traffic that are played to the candidate first; 0 = none.
        labels: share of the traffic whose truth will come; 0 = quality is estimated only. What
            comes first is not like the rest: a `labelled` metric proves nothing before half came.
    """

    name: str
    route: str
    stable: str
    candidates: tuple[str, ...]
    strategy: Strategy
    steps: tuple[Step, ...]
    primary: Metric
    superiority: bool = False
    guardrails: tuple[Metric, ...] = ()
    slices: tuple[str, ...] = ()
    false_rollback: float = 0.01
    false_promotion: float = 0.05
    sample: int = 100
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    most_s: float = 86_400.0
    replay: float = 0.0
    labels: float = 0.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What an arm has earned of one metric: enough for every test, whatever the number of requests.

    Attributes:
        count: of requests (RATE, MEAN, QUANTILE) or units (RATIO) whose figure is final: what is
            still awaited (a label, a click) does not count yet.
        total: sum; of a RATE how many events; of a GIVEN metric the figure itself.
        squares: sum of squares.
        below: sum of the denominators of a RATIO.
        below_squares: their squares' sum.
        product: sum of numerator times denominator.
        buckets: of a QUANTILE: upper bound -> requests, not cumulative.
        low: lower end of a GIVEN metric's interval.
        high: upper end.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    below: float = 0.0
    below_squares: float = 0.0
    product: float = 0.0
    buckets: dict[str, int] = field(default_factory=dict)
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmEvidence:
    """What one arm has earned since the step began.

    Sums of several steps must not be added: the day's errors would weigh otherwise in an arm whose
    share was raised by day. A bandit alone, whose shares move all the time, is summed throughout.

    Attributes:
        arm: name.
        requests: that fell to it.
        units: callers who were kept to it, where the route is sticky: they are what was shared out;
            0 = each request fell by itself.
        metrics: by name.
        slices: by slice, then by metric.
    """

    arm: str
    requests: int
    units: int = 0
    metrics: dict[str, Sums] = field(default_factory=dict)
    slices: dict[str, dict[str, Sums]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All arms at one time.

    Attributes:
        at_ns: UTC.
        arms: the stable one and the candidates.
        shares: that they were given while this was earned, for the check of the split.
        sticky: callers stay with one arm: only they were shared out by chance, not their requests.
    """

    at_ns: int
    arms: tuple[ArmEvidence, ...]
    shares: dict[str, float] = field(default_factory=dict)
    sticky: bool = False


class Outcome(StrEnum):
    """Of a look."""

    PROMOTE = "promote"  # the next step, or all of it
    HOLD = "hold"  # go on collecting
    ROLL_BACK = "roll back"
    INCONCLUSIVE = "inconclusive"  # time is up


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison of a candidate with the stable arm.

    Attributes:
        metric: name.
        slice: `*` = all.
        arm: of the candidate.
        stable: the stable arm's figure.
        candidate: the candidate's.
        difference: candidate less stable, positive = worse.
        low: lower end of the always-valid interval of the difference; None = nothing is known.
        high: upper end; None = nothing is known.
        margin: that was allowed.
        outcome: PROMOTE = proved to be within the margin (better, where that is asked), ROLL_BACK =
            proved to be harmed, HOLD = neither yet.
        sentence: for somebody who knows no statistics.
    """

    metric: str
    slice: str
    arm: str
    stable: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    margin: float
    outcome: Outcome
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look says.

    Attributes:
        outcome: of all findings.
        sentence: why, for a manager.
        findings: the worst first.
        arm: that it is about: who is promoted or rolled back.
        shares: what the arms get next, by name; empty = as before.
        ends: whether the roll-out is over with it.
    """

    outcome: Outcome
    sentence: str
    findings: tuple[Finding, ...] = ()
    arm: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    ends: bool = False


class Phase(StrEnum):
    """Where a roll-out stands."""

    WAITING = "waiting"  # for the candidate to be ready and warm, or for the replay
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    INCONCLUSIVE = "inconclusive"
    ABORTED = "aborted"


MOVES = {
    Phase.WAITING: (Phase.RUNNING, Phase.PAUSED, Phase.ABORTED, Phase.ROLLED_BACK),
    Phase.RUNNING: (
        *(Phase.PAUSED, Phase.PROMOTED, Phase.ROLLED_BACK, Phase.INCONCLUSIVE, Phase.ABORTED),
    ),
    Phase.PAUSED: (Phase.WAITING, Phase.RUNNING, Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED),
    Phase.PROMOTED: (),
    Phase.ROLLED_BACK: (),
    Phase.INCONCLUSIVE: (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED),
    Phase.ABORTED: (),
}
"""Which phase may follow."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A roll-out as it stands.

    Attributes:
        plan: of it.
        phase: of it.
        step: number of the step, from 0.
        began_ns: UTC; 0 = not yet.
        step_ns: when this step began.
        changed_ns: of the last change.
        verdict: of the last look.
        reason: why it stands where it stands.
        actor: who started it.
    """

    plan: Plan
    phase: Phase = Phase.WAITING
    step: int = 0
    began_ns: int = 0
    step_ns: int = 0
    changed_ns: int = 0
    verdict: Verdict | None = None
    reason: str = ""
    actor: str = ""
