"""Learn mode: batch size and delay that meet a latency goal at the least work; decided purely.

Looks at one window of what was measured after the other. A setting that promises less work is a
trial: it is kept when the next windows show it, undone when they do not, and then not tried again
for a while that doubles. Nothing is changed without enough requests, nor for a small gain.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Final

from modelworks.core.served import Batching
from modelworks.serving.curve import Curve
from modelworks.serving.decisions import Decision, Seen, Step, compared, mean_of
from modelworks.serving.forecast import Forecast, Setting, forecast

ENOUGH: Final = 100
"""Requests in a window; with fewer nobody knows what one of a hundred takes."""
_COMPANY: Final = 0.5  # requests that come within the delay: with fewer nobody is waited for
_MARGIN: Final = 0.85  # of the goal: forecasts above are not tried
_LESS_WORK: Final = 0.9  # a trial is worth that much
_NO_MORE_WORK: Final = 1.03
_FASTER: Final = 0.8
_TRULY_LESS: Final = 0.97
_STILL_AS_MANY: Final = 0.9
_INSIST: Final = 3  # windows in a row that say the same before something is changed
_MISSED: Final = 2
_SETTLE: Final = 1  # windows after a change that are not judged
_JUDGE: Final = 2
_REFUSED: Final = 0.01  # of requests: more are a goal missed
_BAN: Final = 8  # windows; doubles each time
_LONGEST_BAN: Final = 512
_SHIFT: Final = 2.0  # a load that much larger or smaller is another one
_FULL: Final = 0.9  # of what can be done: more is why a goal is missed
_GAINS: Final = 0.95  # of what a row cost before: the next size may gain more
_SMOOTH: Final = 0.3
_DELAYS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the goal


@dataclass(slots=True)
class _Trial:
    """A change that has to prove itself."""

    decision: Decision
    base: Seen
    skipped: int = 0
    windows: tuple[Seen, ...] = ()


class Learner:
    """Decides for one model in one worker.

    Args:
        limits: as asked for: the goal, the largest batch, the longest delay (0 = half the goal).
        curve: as measured at load.
        sized: batch size that pays, by that curve.

    Attributes:
        setting: in force.
        curve: with what was seen since.
        missed: the goal cannot be met at present.
    """

    def __init__(self, limits: Batching, curve: Curve, sized: int) -> None:
        self.curve = curve
        self.missed = False
        self._limits = limits
        self._goal = limits.latency_goal_ms
        self.setting = Setting(sized)
        self._trial: _Trial | None = None
        self._factor = 1.0  # measured p99 to forecast
        self._over = 0  # windows in a row that missed the goal
        self._met = 0
        self._wished: Setting | None = None
        self._wishes = 0
        self._windows = 0
        self._bans: dict[Setting, tuple[int, int]] = {}  # until which window, for how many
        self._load = 0.0

    def start(self) -> Decision:
        """The first setting: the largest batch that pays, and of which two fit into the goal."""
        before = self.setting
        size = before.max_batch_size
        points = self.curve.points
        if not points:
            reason = "nothing was measured at load: the first calls will show what they take"
            return Decision(Step.START, before, before, reason)
        alone = self.curve.call_ns(1) / 1e6
        if alone > self._goal:
            self.setting = Setting(1)
            self.missed = True
            reason = (
                f"one row alone takes {alone:.3g} ms of a goal of {self._goal:g} ms: no setting "
                "meets it; a faster machine, a smaller or a quantized model would"
            )
            return Decision(Step.IMPOSSIBLE, self.setting, before, reason)
        while size > 1 and 2 * self.curve.call_ns(size) / 1e6 > _MARGIN * self._goal:
            size = (size + 1) // 2
        self.setting = Setting(size)
        call = self.curve.call_ns(size) / 1e6
        reason = (
            f"a batch of {size} took {call:.3g} ms at load; a request may wait for one and be "
            f"in the next, and both fit into the goal of {self._goal:g} ms"
        )
        return Decision(Step.START, self.setting, before, reason)

    def look(self, seen: Seen) -> Decision | None:
        """What to change after one more window; None = nothing."""
        if seen.requests + seen.refused < ENOUGH:
            return self._rest(seen)
        self._windows += 1
        self.curve = self.curve.learnt(seen.calls)
        if not self.curve.points:
            return None
        now = forecast(self.curve, self.setting, seen.rate)
        over = seen.p99_ms > self._goal or seen.refused > _REFUSED * seen.requests
        self._over = self._over + 1 if over else 0
        if self._trial is not None:
            return self._judge(self._trial, seen, over=over)
        self._note_load(seen)  # not in a trial: its own doing is no news
        if now.p99_ns < inf:
            ratio = min(5.0, max(0.5, seen.p99_ms * 1e6 / now.p99_ns))
            self._factor += _SMOOTH * (ratio - self._factor)
        return self._next(seen, now, over=over)

    # -- what to try

    def _next(self, seen: Seen, now: Forecast, *, over: bool) -> Decision | None:
        found = [
            forecast(self.curve, setting, seen.rate)
            for setting in self._candidates(now.work_ns * now.batch)
        ]
        if over:
            self._wishes = self._met = 0
            return self._hurry(seen, now, found) if self._over >= _MISSED else None
        self._met = self._met + 1 if seen.p99_ms <= _MARGIN * self._goal else 0
        if self.missed and self._met >= _INSIST:
            self.missed = False
            return Decision(
                Step.MET, self.setting, self.setting, f"{self._told(seen)}: the goal is met", seen
            )
        best = self._best(found)
        step, reason = (None, "") if best is None else _gain(now, best)
        if best is None or step is None:
            self._wishes = 0
            return None
        self._wishes = self._wishes + 1 if best.setting == self._wished else 1
        self._wished = best.setting
        if self._wishes < _INSIST:
            return None
        return self._change(step, best.setting, f"{self._told(seen)}: {reason}", seen)

    def _hurry(self, seen: Seen, now: Forecast, found: list[Forecast]) -> Decision | None:
        best = self._fastest(found)
        told = f"{self._told(seen)}, goal {self._goal:g} ms"
        faster = best.p99_ns < _LESS_WORK * now.p99_ns
        more = best.p99_ns == now.p99_ns == inf and best.most > now.most / _TRULY_LESS
        if faster or more:
            expected = (
                f"{best.most:.0f} rows a second instead of {now.most:.0f}"
                if best.p99_ns == inf
                else f"{best.p99_ns * self._factor / 1e6:.3g} ms"
            )
            reason = f"{told}; expected of {best.setting}: {expected}"
            self._ban(self.setting)  # or it would be back as soon as the load lets it look better
            return self._change(Step.HURRY, best.setting, reason, seen)
        full = seen.rate > _FULL * now.most
        unknown = replace(self.setting, max_batch_size=self._unknown())
        if full and unknown != self.setting and not self._banned(unknown):
            reason = f"{told}; nothing is known of {unknown}, and more comes than can be done"
            return self._change(Step.TRY, unknown, reason, seen)
        if self.missed:
            return None
        self.missed = True
        alone = self.curve.call_ns(1) / 1e6
        if alone > self._goal:
            why = f"one row alone takes {alone:.3g} ms"
        elif full:
            why = f"{seen.rate:.0f} rows a second come and {now.most:.0f} can be done"
        else:
            why = "no other setting is expected to be faster"
        reason = f"{told}: {why}; the best setting is kept"
        return Decision(Step.IMPOSSIBLE, self.setting, self.setting, reason, seen)

    def _unknown(self) -> int:
        """Twice the largest batch ever measured, within the limit, where that one still gained."""
        *others, last = self.curve.points
        if others and last.per_row > _GAINS * min(point.per_row for point in others):
            return self.setting.max_batch_size
        return max(self.setting.max_batch_size, min(2 * last.rows, self._limits.max_batch_size))

    def _change(self, step: Step, setting: Setting, reason: str, seen: Seen) -> Decision:
        decision = Decision(step, setting, self.setting, reason, seen)
        self._trial = _Trial(decision, seen)
        self.setting = setting
        self._wishes = self._over = self._met = 0
        return decision

    def _best(self, found: list[Forecast]) -> Forecast | None:
        """Least work within the goal, of those as good the fastest; None = nothing is within it."""
        allowed = _MARGIN * self._goal * 1e6
        fits = [one for one in found if one.p99_ns * self._factor <= allowed]
        if not fits:
            return None
        least = min(one.work_ns for one in fits) / _TRULY_LESS
        good = [one for one in fits if one.work_ns <= least]
        return min(good, key=lambda one: (one.p99_ns, *self._order(one)))

    def _fastest(self, found: list[Forecast]) -> Forecast:
        """The nearest to the goal; where more comes than can be done, what does most."""
        delay = self.setting.max_delay_ms
        sooner = [one for one in found if one.setting.max_delay_ms <= delay]
        if all(one.p99_ns == inf for one in sooner):
            most = _TRULY_LESS * max(one.most for one in sooner)
            return min((one for one in sooner if one.most >= most), key=self._order)
        return min(sooner, key=lambda one: (one.p99_ns, *self._order(one)))

    def _order(self, one: Forecast) -> tuple[float, bool, int]:
        """Of settings as good: the shorter delay, the size in force, the smaller size."""
        size = one.setting.max_batch_size
        return one.setting.max_delay_ms, size != self.setting.max_batch_size, size

    def _candidates(self, batch_ns: float) -> list[Setting]:
        """Sizes in powers of two; delays at most one notch longer than now; none of the banned."""
        largest = self._limits.max_batch_size
        sizes = {2**power for power in range(largest.bit_length())} | {largest}
        sizes.add(self.setting.max_batch_size)
        cap = self._limits.max_delay_ms or self._goal / 2
        notches = [0.0, *(min(cap, share * self._goal) for share in _DELAYS)]
        # A delay shorter than a call changes nothing: those who come meanwhile wait anyhow.
        shortest = max(self.setting.max_delay_ms, batch_ns / 1e6)
        longer = [delay for delay in notches if delay > shortest][:1]
        delays = {d for d in notches if d <= self.setting.max_delay_ms} | set(longer)
        settings = {Setting(size, delay if size > 1 else 0.0) for size in sizes for delay in delays}
        return [one for one in settings if not self._banned(one)]

    def _banned(self, setting: Setting) -> bool:
        """Whether it failed of late; a delay that failed does so for every size."""
        delay = setting.max_delay_ms
        return setting != self.setting and any(
            until > self._windows and (one == setting or one.max_delay_ms == delay > 0)
            for one, (until, _) in self._bans.items()
        )

    # -- how it went

    def _judge(self, trial: _Trial, seen: Seen, *, over: bool) -> Decision | None:
        if trial.skipped < _SETTLE:
            trial.skipped += 1
            return None
        trial.windows += (seen,)
        if len(trial.windows) < _JUDGE and not (over and self._over >= _MISSED):
            return None
        self._trial = None
        decision = trial.decision
        if decision.step is Step.HURRY:
            return None  # what is nearest to the goal stays until something is nearer
        after = mean_of(trial.windows)
        wrong = self._wrong(decision.step, trial.base, after)
        if not wrong:
            told = compared(trial.base, after)
            return Decision(Step.KEEP, self.setting, decision.before, told, seen)
        length = self._ban(self.setting)
        tried, self.setting = self.setting, decision.before
        self._over = 0
        reason = f"{wrong} ({compared(trial.base, after)}); not tried again for {length} windows"
        return Decision(Step.BACK, self.setting, tried, reason, seen)

    def _ban(self, setting: Setting) -> int:
        """Do not try it for a while, each time twice as long; windows."""
        _, length = self._bans.get(setting, (0, _BAN // 2))
        length = min(_LONGEST_BAN, 2 * length)
        self._bans[setting] = (self._windows + length, length)
        return length

    def _wrong(self, step: Step, base: Seen, after: Seen) -> str:
        """Why a trial has failed; empty = it has not."""
        if after.p99_ms > self._goal >= base.p99_ms:
            return f"the goal of {self._goal:g} ms was missed"
        if after.rate < _STILL_AS_MANY * base.rate:
            return "fewer requests came through"
        if step is Step.TRY and after.work_us > _TRULY_LESS * base.work_us:
            return "a row took as much work as before"
        if step is Step.EASE and after.p99_ms > base.p99_ms / _TRULY_LESS:
            return "requests took longer than before"
        if step is Step.EASE and after.work_us > base.work_us / _STILL_AS_MANY:
            return "a row took more work than before"
        return ""

    # -- the load

    def _rest(self, seen: Seen) -> Decision | None:
        """Without company to wait for, a delay is nothing but a delay."""
        before = self.setting
        if seen.rate * before.max_delay_ms >= 1000 * _COMPANY or not before.max_delay_ms:
            return None
        self.setting = replace(before, max_delay_ms=0.0)
        self._trial = None
        self._wishes = self._over = 0
        reason = f"{seen.requests} requests in {seen.seconds:.0f} s: there is nobody to wait for"
        return Decision(Step.REST, self.setting, before, reason, seen)

    def _note_load(self, seen: Seen) -> None:
        """Another load is another question: what failed under the old one may be tried again."""
        rate = seen.rate
        if not self._load or not self._load / _SHIFT < rate < self._load * _SHIFT:
            self._load = rate
            self._bans = {one: (self._windows, length) for one, (_, length) in self._bans.items()}

    def _told(self, seen: Seen) -> str:
        refused = f", {seen.refused} requests refused" if seen.refused else ""
        return (
            f"{seen.rate:.4g} rows a second, p99 {seen.p99_ms:.3g} ms, "
            f"{seen.work_us:.4g} us of engine a row{refused}"
        )


def _gain(now: Forecast, best: Forecast) -> tuple[Step | None, str]:
    """Whether `best` is worth a change, and what it promises."""
    if best.setting == now.setting:
        return None, ""
    if best.work_ns <= _LESS_WORK * now.work_ns:
        less = 100 * (1 - best.work_ns / now.work_ns)
        return Step.TRY, f"{best.setting} promise {less:.0f} % less work a row, within the goal"
    if best.work_ns <= _NO_MORE_WORK * now.work_ns and best.p99_ns <= _FASTER * now.p99_ns:
        less = 100 * (1 - best.p99_ns / now.p99_ns)
        return Step.EASE, f"{best.setting} promise a p99 {less:.0f} % lower for the same work"
    return None, ""
