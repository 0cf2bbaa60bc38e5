"""Takes feedback in: what is told is checked, and kept in the form that it is joined by."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modelworks.control.records.forms import Forms
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.ids import now_ns, parse_time
from modelworks.core.records import Feedback
from modelworks.monitor.feedback.inbox import Inbox

MOST: Final = 1000
"""Lines of one message."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST: Final = 1024
_VALUES: Final = 10_000
_ITEMS: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Told:
    """One line of feedback, as it is sent.

    Attributes:
        model: name.
        prediction: id of the request: `id` of its answer, or its `X-Request-Id`.
        key: business key, where the id is not known; give one of both.
        item: of the request, 0 is its first.
        truth: what the model should have answered: a number, truth value, text, or a list of them.
        outcomes: what came of it, by name: `{"revenue": 12.5, "clicked": true}`.
        at: when it became known, ISO 8601; empty = now.
        id: of this line; what comes again under the same one counts once. Empty = made of the rest.
    """

    model: str
    prediction: str = ""
    key: str = ""
    item: int = 0
    truth: Any = None
    outcomes: dict[str, float | bool] = field(default_factory=dict)
    at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken in.

    Attributes:
        accepted: lines.
        ids: theirs.
    """

    accepted: int
    ids: tuple[str, ...]


class Intake:
    """Takes feedback in for one tenant.

    Args:
        inbox: keeps it until it is moved into its store.
        forms: of business keys.
        tenant: whose.
        clock: UTC nanoseconds.
    """

    def __init__(
        self, inbox: Inbox, forms: Forms, tenant: str, clock: Callable[[], int] = now_ns
    ) -> None:
        self._inbox = inbox
        self._forms = forms
        self._tenant = tenant
        self._clock = clock

    def message(self, data: Any) -> Taken:
        """Take in what was sent: one object or a list of them.

        Raises:
            InvalidError: the first line that cannot be; `field` says which and what. Nothing of the
                message is kept.
            UnavailableError: no room, or too much waits.
        """
        if isinstance(data, list):
            return self.lines([codec.decode(Told, one, f"[{n}]") for n, one in enumerate(data)])
        return self.lines([codec.decode(Told, data)], single=True)

    def lines(self, told: Sequence[Told], *, single: bool = False) -> Taken:
        """Take in lines: all or none; raises as `message`."""
        if not told or len(told) > MOST:
            raise InvalidError(f"1 to {MOST} lines are wanted, not {len(told)}", field="feedback")
        now = self._clock()
        made = [self._one(one, now, "" if single else f"[{n}].") for n, one in enumerate(told)]
        self._inbox.put(made)
        return Taken(len(made), tuple(one.id for one in made))

    def _one(self, told: Told, now: int, where: str) -> Feedback:
        _check(told, where)
        at_ns = _moment(told.at, where) if told.at else now
        made = Feedback(
            id=told.id or _digest(told),
            model=told.model,
            at_ns=at_ns,
            received_ns=now,
            prediction=told.prediction,
            key=self._forms.hashed(told.key) if told.key else "",
            item=told.item,
            truth=told.truth,
            outcomes=dict(told.outcomes),
            tenant=self._tenant,
        )
        if not 0 <= at_ns <= now + 366 * 86_400 * 1_000_000_000:
            raise InvalidError(f"{where}at: '{told.at}' is no time of feedback", field=f"{where}at")
        return made


def _check(told: Told, where: str) -> None:
    if not _NAME.fullmatch(told.model):
        raise _wrong(where, "model", f"{told.model[:60]!r} is no model's name")
    if bool(told.prediction) == bool(told.key):
        raise _wrong(where, "prediction", "give one of prediction and key")
    texts = {"prediction": told.prediction, "key": told.key, "id": told.id}
    if long := [name for name, text in texts.items() if len(text) > _LONGEST]:
        raise _wrong(where, long[0], f"longer than {_LONGEST} characters")
    if not 0 <= told.item < _ITEMS:
        raise _wrong(where, "item", f"{told.item} is no item of a request")
    if told.truth is None and not told.outcomes:
        raise _wrong(where, "truth", "neither truth nor outcomes: nothing is told")
    if problem := _unfit(told.truth):
        raise _wrong(where, "truth", problem)
    _check_outcomes(told.outcomes, where)


def _check_outcomes(outcomes: Mapping[str, float | bool], where: str) -> None:
    for name, value in outcomes.items():
        if not _NAME.fullmatch(name):
            raise _wrong(where, "outcomes", f"{name[:60]!r} is no name of an outcome")
        if not math.isfinite(value):
            raise _wrong(where, f"outcomes.{name}", f"{value} is no number")


def _unfit(truth: Any) -> str:
    """Why something is no truth; empty = it is."""
    values = truth if isinstance(truth, list) else [truth]
    if len(values) > _VALUES:
        return f"more than {_VALUES} values"
    for value in values:
        if isinstance(value, dict | list):
            return "a number, truth value, text or a list of them is wanted"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value} is no number"
        if isinstance(value, str) and len(value) > _LONGEST:
            return f"longer than {_LONGEST} characters"
    return ""


def _moment(text: str, where: str) -> int:
    try:
        return parse_time(text)
    except (InvalidError, OverflowError) as error:
        raise _wrong(where, "at", f"'{text[:60]}' is no time: 2026-10-03T14:00Z is one") from error


def _digest(told: Told) -> str:
    text = json.dumps(codec.encode(told), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _wrong(where: str, name: str, why: str) -> InvalidError:
    path = f"{where}{name}"
    return InvalidError(f"{path}: {why}", field=path)
