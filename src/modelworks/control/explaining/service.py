"""Explains rows of a model by the explainer that knows it best."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.control.explaining.cache import Cache, key_of
from modelworks.core.seams import Explanation
from modelworks.core.tensor import Signature, Tensors
from modelworks.plugins.explaining import AUTO, explain_by
from modelworks.plugins.load import available
from modelworks.protocol.features import Features, answer_of, answers
from modelworks.protocol.rows import read_rows

LARGEST: Final = 100_000
"""Rows that are read at most."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is explained.

    Attributes:
        signature: of it.
        infer: input tensors -> outputs by name.
        digest: of its artifact.
        artifact: where it lies; None = it is not at hand.
    """

    signature: Signature
    infer: Callable[[Tensors], Mapping[str, Any]]
    digest: str
    artifact: Path | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How rows are explained.

    Attributes:
        explainer: name; `auto` = the one that knows the model best.
        samples: calls a row at most; 0 = as the explainer likes.
        seed: of what is drawn.
    """

    explainer: str = AUTO
    samples: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """Rows and what did it.

    Attributes:
        explainer: that was used.
        passed_over: why others were not, by name.
        features: names.
        classes: labels of the last axis; empty = one number a row.
        link: see `core.seams.Explanation`.
        additive: whether values and base sum up to the answers, under the link.
        base: one a class.
        values: rows x features x classes.
        errors: of the values; None = exact.
        answers: rows x classes.
        calls: rows that the model was asked.
        known: rows that were explained before.
    """

    explainer: str
    passed_over: Mapping[str, str]
    features: tuple[str, ...]
    classes: tuple[Any, ...]
    link: str
    additive: bool
    base: Any
    values: Any
    errors: Any
    answers: Any
    calls: int
    known: int


def explain(
    subject: Subject,
    rows: Sequence[Any],
    background: Sequence[Any],
    how: How,
    cache: Cache | None = None,
) -> Explained:
    """Explain rows.

    Args:
        subject: the model.
        rows: plain rows, as `/predict` takes them.
        background: the same: what stands for "not known".
        how: explainer, samples, seed.
        cache: of what was explained before.

    Raises:
        InvalidError: a row or an option that cannot be.
        NotFoundError: no such explainer.
        UnsupportedError: the model or its answer cannot be explained so.
    """
    signature = subject.signature
    given = read_rows(list(rows), signature, LARGEST).inputs
    known = read_rows(list(background), signature, LARGEST).inputs
    features = Features.of(signature, (given, known))
    answer = answer_of(signature)

    def predict(table: Any) -> Any:
        return answers(signature, subject.infer(features.tensors(table)))

    table, back = features.table(given), features.table(known)
    work = _Work(subject, how, features, predict, back, cache)
    made = work.explain(table)
    said = np.asarray(predict(table)).reshape(len(table), -1)
    return Explained(
        explainer=work.used,
        passed_over=work.passed_over,
        features=features.names,
        classes=answer.classes,
        link=made.link,
        additive=made.additive,
        base=np.atleast_1d(made.base),
        values=_deep(made.values),
        errors=None if made.error is None else _deep(made.error),
        answers=said,
        calls=made.calls,
        known=work.known,
    )


class _Work:
    """One call, row by row where some are known."""

    def __init__(
        self,
        subject: Subject,
        how: How,
        features: Features,
        predict: Callable[[Any], Any],
        background: Any,
        cache: Cache | None,
    ) -> None:
        self.used = how.explainer
        self.passed_over: dict[str, str] = {}
        self.known = 0
        self._subject = subject
        self._how = how
        self._features = features
        self._predict = predict
        self._background = background
        self._cache = cache
        texts = json.dumps([[str(v) for v in values] for values in features.values.values()])
        self._parts = (
            *(subject.digest, json.dumps([how.explainer, how.samples, how.seed]), texts),
            *(json.dumps(features.names), background.tobytes()),
        )

    def explain(self, table: Any) -> Explanation:
        """Those that are not known, and all together."""
        if self._cache is None:
            return self._fresh(table)
        cache = self._cache
        keys = [key_of(*self._parts, row.tobytes()) for row in table]
        found = [cache.get(key) for key in keys]
        head = cache.get(key_of(*self._parts))
        new = [place for place, one in enumerate(found) if one is None or head is None]
        if new or head is None:
            fresh = self._fresh(table[new])
            head = _head(fresh, self.used)
            cache.put(key_of(*self._parts), head)
            for place, packed in zip(new, _packed(fresh), strict=True):
                found[place] = packed
                cache.put(keys[place], packed)
            cache.prune()
            calls = fresh.calls
        else:
            calls = 0
        self.known = len(table) - len(new)
        return self._joined(head, np.stack(found), calls)

    def _joined(self, head: Any, packed: Any, calls: int) -> Explanation:
        told = json.loads(head.tobytes())
        self.used = told["explainer"]
        exact = bool(np.isnan(packed[:, 1]).all())
        values, errors = packed[:, 0], None if exact else packed[:, 1]
        return Explanation(
            self._features.names,
            np.array(told["base"]),
            values,
            errors,
            additive=told["additive"],
            calls=calls,
            link=told["link"],
        )

    def _fresh(self, table: Any) -> Explanation:
        options: dict[str, Any] = {"seed": self._how.seed, "features": self._features.names}
        if self._how.samples:
            options["samples"] = self._how.samples
        subject = self._subject
        if subject.artifact is not None and not subject.signature.steps:
            options["artifact"] = subject.artifact  # behind steps its inputs are others
        found, self.used, self.passed_over = explain_by(
            self._how.explainer, self._predict, (table, self._background), options
        )
        return found


def names() -> tuple[str, ...]:
    """The explainers that are installed."""
    return (AUTO, *sorted(available("explainers")))


def _deep(values: Any) -> Any:
    """With an axis of classes."""
    table = np.asarray(values)
    return table[..., None] if table.ndim == 2 else table


def _head(made: Explanation, explainer: str) -> Any:
    """What is the same for all rows, as bytes."""
    told = {
        "explainer": explainer,
        "base": np.atleast_1d(made.base).tolist(),
        "additive": made.additive,
        "link": made.link,
    }
    return np.frombuffer(json.dumps(told).encode(), np.uint8)


def _packed(made: Explanation) -> Any:
    """Rows x (values, errors) x features x classes."""
    values = _deep(made.values)
    errors = np.full_like(values, np.nan) if made.error is None else _deep(made.error)
    return np.stack([values, errors], axis=1)
