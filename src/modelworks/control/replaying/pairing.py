"""Recorded answers beside those of a replay: pairs, errors, what the truth says of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modelworks.control.replaying.answers import Said, View, right
from modelworks.control.replaying.traffic import Recorded
from modelworks.core.errors import ModelworksError
from modelworks.core.rollouts import Sums
from modelworks.core.tensor import Signature
from modelworks.measure.played import Got, Played
from modelworks.measure.tally import Failure
from modelworks.protocol.records.bodies import BodyReader
from modelworks.rollout.shadow.tally import Form, Pairs, Tally, tally

_UNSEEN = frozenset({429, 503})
"""Refused without a look: they say nothing of a version."""
_OK = 200


@dataclass(frozen=True, slots=True)
class Truth:
    """How often both were right, of the answered items whose truth is known.

    Attributes:
        count: of them.
        stable: the recorded answers that were right.
        candidate: the candidate's.
    """

    count: int = 0
    stable: int = 0
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything that is counted of a replay.

    Attributes:
        form: what was compared; None = the two have no answer in common.
        tally: of the pairs, an item each.
        recorded: errors of the stable version, of the requests that were played.
        played: errors of the candidate, of the same.
        truth: `*` and every slice -> see `Truth`.
        apart: answers that could not be compared -> why.
    """

    form: Form | None
    tally: Tally
    recorded: Sums
    played: Sums
    truth: dict[str, Truth] = field(default_factory=dict)
    apart: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Rows:
    """Items of pairs, as they are gathered."""

    ids: list[str] = field(default_factory=list)
    stable: list[Any] = field(default_factory=list)
    candidate: list[Any] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)
    inside: list[set[int]] = field(default_factory=list)

    def pairs(self, form: Form, slices: Sequence[str]) -> Pairs:
        """As the tally wants them."""
        kind = object if form is Form.LABELS else np.float64
        masks = {
            name: np.array([place in one for one in self.inside], bool)
            for place, name in enumerate(slices)
        }
        return Pairs(
            *(form, self.ids, np.array(self.stable, kind), np.array(self.candidate, kind)),
            *(np.array(self.missing, bool), masks),
        )


class Comparing:
    """Goes through what was played, once.

    Args:
        stable: signature of the version whose answers are recorded.
        candidate: signature of the one that was asked.
        slices: that are looked at.
    """

    def __init__(self, stable: Signature, candidate: Signature, slices: Sequence[str]) -> None:
        self._views = View(stable), View(candidate)
        self._reader = BodyReader(candidate)
        self._slices = tuple(slices)
        self._rows = {form: _Rows() for form in Form}
        self._truth: dict[str, Truth] = {}
        self._apart: dict[str, int] = {}

    def compare(self, requests: Sequence[Recorded], played: Played) -> Compared:
        """All of it; what was not sent, or was under way when somebody ended it, counts nowhere."""
        recorded, asked = [0, 0], [0, 0]
        for place, one in enumerate(requests):
            got, failure = played.answers.get(place), played.failures.get(place)
            if got is None and (
                failure is None or (played.interrupted and failure is Failure.UNFINISHED)
            ):
                continue
            _count(recorded, one.status)
            _count(asked, got.status if got is not None else 0)
            if one.status != _OK or (got is not None and got.status in _UNSEEN):
                continue
            good = got is not None and got.status == _OK
            if good and got is not None and got.body is None:
                self._leave("no room was left to keep the answer")
                continue
            said = self._said(got) if good and got is not None else Said()
            if good and said.nothing:
                self._leave("the candidate's answer cannot be read")
            else:
                self._pair(one, self._views[0].said(one.outputs), said)
        form = next((f for f in _ORDER if self._rows[f].ids), None)
        return Compared(
            *(form, self._tallied(form), _sums(recorded), _sums(asked)),
            *(self._truth, self._apart),
        )

    def _said(self, got: Got) -> Said:
        try:
            outputs = self._reader.answer(got.body or b"", max(0, got.json_length))
            return self._views[1].said(outputs)
        except (ModelworksError, ValueError, KeyError, TypeError):
            return Said()

    def _pair(self, one: Recorded, was: Said, now: Said) -> None:
        """Put the items of one request beside one another."""
        gone = now.nothing
        forms = [
            form
            for form in Form
            if (before := _of(form, was)) is not None
            and len(before) == one.rows
            and (gone or _alike(before, _of(form, now)))
        ]
        if not forms:
            words = "the recorded answer is not kept, or hashed"
            self._leave(words if was.nothing else "the two answers have no form in common")
            return
        for form in forms:
            before, after = _of(form, was), _of(form, now)
            rows = self._rows[form]
            for item in range(one.rows):
                rows.ids.append(one.id if one.rows == 1 else f"{one.id}[{item}]")
                rows.stable.append(before[item])
                rows.candidate.append(_nothing(before[item]) if gone else after[item])
                rows.missing.append(gone)
                rows.inside.append({s for s, some in enumerate(one.slices) if item in some})
        if not gone and was.labels is not None and now.labels is not None:
            self._learn(one, was.labels, now.labels)

    def _learn(self, one: Recorded, was: Sequence[str], now: Sequence[str]) -> None:
        for item, truth in enumerate(one.truth):
            if truth is None or truth != truth:  # noqa: PLR0124 - NaN
                continue
            names = [n for n, some in zip(self._slices, one.slices, strict=True) if item in some]
            for name in ("*", *names):
                known = self._truth.get(name, Truth())
                self._truth[name] = Truth(
                    known.count + 1,
                    known.stable + right(was[item], truth),
                    known.candidate + right(now[item], truth),
                )

    def _tallied(self, form: Form | None) -> Tally:
        """Of labels, with the probabilities' calibration where both give them."""
        if form is None:
            return Tally()
        whole = tally(self._rows[form].pairs(form, self._slices))
        sure = self._rows[Form.PROBABILITIES]
        if form is Form.LABELS and sure.ids:
            more = tally(sure.pairs(Form.PROBABILITIES, ()))
            return replace(whole, bins=more.bins, kept=more.kept, close=more.close)
        return whole

    def _leave(self, reason: str) -> None:
        self._apart[reason] = self._apart.get(reason, 0) + 1


_ORDER = (Form.LABELS, Form.PROBABILITIES, Form.SCORES)


def _of(form: Form, said: Said) -> Any:
    by: Mapping[Form, Any] = {
        Form.LABELS: said.labels,
        Form.PROBABILITIES: said.probabilities,
        Form.SCORES: said.numbers,
    }
    return by[form]


def _alike(one: Any, other: Any) -> bool:
    """Whether two answers to the same request can be held against each other."""
    if other is None or len(one) != len(other):
        return False
    return isinstance(one, tuple) or one.shape == other.shape


def _nothing(value: Any) -> Any:
    """Stands where the candidate did not answer."""
    return "" if isinstance(value, str) else np.full_like(np.asarray(value, np.float64), np.nan)


def _count(cells: list[int], status: int) -> None:
    """(requests that were looked at, failed ones); 0 = no answer came."""
    if status in _UNSEEN:
        return
    cells[0] += 1
    cells[1] += status != _OK


def _sums(cells: Sequence[int]) -> Sums:
    return Sums(count=cells[0], total=cells[1])
