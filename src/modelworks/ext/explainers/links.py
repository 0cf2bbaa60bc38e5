"""From what a node gives to what the model answers, found by trying: the link of an explanation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.core.errors import UnsupportedError

_TOLERANCE: Final = (1e-4, 1e-5)  # relative, absolute: models compute in FP32
_BOTH: Final = 2


@dataclass(frozen=True, slots=True)
class Link:
    """How scores become answers.

    Attributes:
        name: as in `core.seams.Explanation.link`.
        both: one score that speaks for the second of two classes, and against the first.
        complement: of a probability, of which the first class has the rest.
    """

    name: str
    both: bool = False
    complement: bool = False

    def base(self, scores: Any) -> Any:
        """The mean scores as the explanation's base, one a class."""
        if not self.both:
            return scores
        return np.concatenate([1 - scores if self.complement else -scores, scores], axis=-1)

    def values(self, values: Any) -> Any:
        """Values of scores as values of classes (the last axis)."""
        return np.concatenate([-values, values], axis=-1) if self.both else values


def linked(scores: Any, answers: Any) -> Link:
    """The link that makes the model's answers of a node's scores.

    Args:
        scores: rows x scores.
        answers: rows x classes, of the same rows.

    Raises:
        UnsupportedError: none does: something else stands between them.
    """
    with np.errstate(over="ignore"):  # a link that does not fit
        for link, made in _CANDIDATES:
            found = made(scores)
            if found.shape == answers.shape and np.allclose(answers, found, *_TOLERANCE):
                return link
    raise UnsupportedError(
        "the model's answers are not what its node says: something else stands behind it",
        field="artifact",
    )


def _two(second: Any) -> Any:
    return np.concatenate([1 - second, second], axis=1) if second.shape[1] == 1 else second[:, :0]


def _logistic(scores: Any) -> Any:
    return 1 / (1 + np.exp(-scores))


def _softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


_CANDIDATES: Final[tuple[tuple[Link, Callable[[Any], Any]], ...]] = (
    (Link(""), lambda scores: scores),
    (Link("", both=True, complement=True), _two),
    (Link("logit", both=True), lambda scores: _two(_logistic(scores))),
    (Link("logit"), _logistic),
    (Link("softmax"), _softmax),
    (Link("log"), np.exp),
)
