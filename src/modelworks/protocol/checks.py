"""What callers sent against the rules of the signature's steps, before anything is queued.

Errors name the row, the input and the rule: `rows[3].age`. A model without rules has no `Checks`.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.patterns import longest_text, repeats
from modelworks.core.steps import InputSteps, Unknown, Validate
from modelworks.core.tensor import Datatype, Layout, Signature, Tensors
from modelworks.protocol.tensors import Array, shown

_WORK = 20_000_000  # steps of the pattern matcher in one request: a fifth of a second
_Test = Callable[[Array, str], None]


def checks_of(signature: Signature) -> "Checks | None":
    """The rules of a signature; None where there are none."""
    found = Checks(signature)
    return found if found.any else None


class Checks:
    """Holds requests of one model against its rules.

    Args:
        signature: what callers send; rules stand in its steps.
    """

    def __init__(self, signature: Signature) -> None:
        matrix = signature.layout is Layout.MATRIX
        self._columns: list[tuple[str, int | None, list[_Test]]] = []
        self._rows: list[tuple[str, int]] = []
        kinds = {spec.name: spec.datatype for spec in signature.inputs}
        for item in signature.steps:
            name = signature.inputs[0].name if matrix else item.name
            column = signature.features.index(item.name) if matrix else None
            tests = list(_tests(item, kinds[name]))
            if tests:
                self._columns.append((name, column, tests))
            step = item.tokenize or item.decode_image
            if step is not None:
                self._rows.append((name, step.max_rows))
        self._names = signature.features if matrix else ()

    @property
    def any(self) -> bool:
        """Whether there is a rule."""
        return bool(self._columns or self._rows)

    def check(self, inputs: Tensors) -> None:
        """Refuse a request that breaks a rule.

        Args:
            inputs: every input of the signature, decoded.

        Raises:
            InvalidError: `field` is `rows[3].age`.
        """
        for name, most in self._rows:
            if inputs[name].size > most:
                raise InvalidError(
                    f"{inputs[name].size} values for '{name}': at most {most} in one request",
                    field=name,
                )
        for name, column, tests in self._columns:
            array = inputs[name]
            if column is None:
                values, label = array, name
            else:
                values, label = array[:, column], self._names[column]
            for test in tests:
                test(values, label)


def _tests(item: InputSteps, datatype: Datatype) -> Iterator[_Test]:
    rules = item.validate or Validate()
    text = datatype is Datatype.BYTES
    if rules.required:
        yield _required_text if text else _required
    if rules.finite and not text:
        yield _finite
    if not text and (rules.min is not None or rules.max is not None):
        yield _Between(rules.min, rules.max)
    if rules.allowed:
        yield _Among(rules.allowed, "allowed", text=text)
    if text and (rules.pattern or rules.min_length is not None or rules.max_length is not None):
        yield _Text(rules)
    one_hot = item.one_hot
    if one_hot is not None and one_hot.unknown is Unknown.ERROR:
        free = item.impute is not None
        yield _Among(one_hot.categories, "categories", text=text, missing=free)


def _refuse(bad: Array, values: Array, label: str, says: Callable[[Any], str]) -> None:
    """Name the first value that a mask marks."""
    if not bad.any():
        return
    place = int(np.flatnonzero(bad.reshape(-1))[0])
    value = values.reshape(-1)[place]
    row = place // max(1, values.size // len(values)) if values.ndim else 0
    where = f"rows[{row}].{label}"
    plain = value.item() if isinstance(value, np.generic) else value
    told = shown(plain.decode(errors="replace") if isinstance(plain, bytes) else plain)
    raise InvalidError(f"{where}: {says(told)}", field=where)


def _nan(values: Array) -> Array:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)


def _required(values: Array, label: str) -> None:
    _refuse(_nan(values), values, label, lambda _: "a value is required (rule 'required')")


def _required_text(values: Array, label: str) -> None:
    empty = np.array([not v for v in values.reshape(-1).tolist()], bool)
    _refuse(empty, values, label, lambda _: "a text is required (rule 'required')")


def _finite(values: Array, label: str) -> None:
    if values.dtype.kind == "f":
        bad = np.isinf(values)
        _refuse(bad, values, label, lambda v: f"{v} is not finite (rule 'finite')")


class _Between:
    """NaN passes: it is neither below nor above."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self._low, self._high = low, high

    def __call__(self, values: Array, label: str) -> None:
        """Refuse what lies outside."""
        if self._low is not None:
            low = self._low
            _refuse(values < low, values, label, lambda v: f"{v} is below {low:g} (rule 'min')")
        if self._high is not None:
            high = self._high
            _refuse(values > high, values, label, lambda v: f"{v} is above {high:g} (rule 'max')")


class _Among:
    """Missing values pass, except where they are a category of their own that is not there."""

    def __init__(
        self, values: Sequence[Any], rule: str, *, text: bool, missing: bool = True
    ) -> None:
        self._rule, self._text, self._missing = rule, text, missing
        words = [str(value) for value in values]
        self._some = ", ".join(words[:8]) + ("..." if len(words) > 8 else "")
        self._known = {word.encode() for word in words}
        self._numbers = () if text else np.array(values, np.float64)

    def __call__(self, values: Array, label: str) -> None:
        """Refuse what is none of the values."""
        if self._text:
            known, free = self._known, self._missing
            flat = values.reshape(-1).tolist()
            bad = np.array([v not in known and (bool(v) or not free) for v in flat], bool)
        else:
            bad = ~np.isin(values, self._numbers)
            if self._missing:
                bad &= ~_nan(values)
        _refuse(bad, values, label, self._says)

    def _says(self, value: str) -> str:
        return f"{value} is none of {self._some} (rule '{self._rule}')"


class _Text:
    """Length and pattern; the empty text passes."""

    def __init__(self, rules: Validate) -> None:
        self._low = rules.min_length or 0
        self._pattern = re.compile(rules.pattern) if rules.pattern else None
        self._source = rules.pattern
        self._repeats = repeats(rules.pattern) if rules.pattern else 0
        bound = longest_text(rules.pattern) if rules.pattern else None
        self._high = rules.max_length if rules.max_length is not None else bound

    def __call__(self, values: Array, label: str) -> None:
        """Refuse the first text that does not fit."""
        spent = 0.0
        for place, item in enumerate(values.reshape(-1).tolist()):
            if not item:
                continue
            where = f"rows[{place}].{label}"
            try:
                text = item.decode()
            except UnicodeDecodeError as error:
                raise InvalidError(
                    f"{where}: the text is no UTF-8: {error}", field=where
                ) from error
            self._length(len(text), where)
            if self._pattern is None:
                continue
            spent += len(text) ** self._repeats / math.factorial(self._repeats)
            if spent > _WORK:
                raise InvalidError(
                    f"{where}: too many long texts for one request: send fewer rows", field=where
                )
            if self._pattern.fullmatch(text) is None:
                raise InvalidError(
                    f"{where}: {shown(text)} does not match {shown(self._source)} (rule 'pattern')",
                    field=where,
                )

    def _length(self, length: int, where: str) -> None:
        if length < self._low:
            raise InvalidError(
                f"{where}: {length} characters, at least {self._low} are wanted "
                "(rule 'min_length')",
                field=where,
            )
        if self._high is not None and length > self._high:
            raise InvalidError(
                f"{where}: {length} characters, at most {self._high} are taken (rule 'max_length')",
                field=where,
            )
