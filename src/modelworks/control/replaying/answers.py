"""What a version says, from its outputs by name: classes, probabilities or numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.control.replaying.fields import hidden
from modelworks.core.tensor import Datatype, Role, Signature
from modelworks.evaluation.columns import name_of

_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to one request.

    Attributes:
        labels: class names, an item each; None = it names no classes.
        probabilities: [items, classes]; None = it gives none.
        numbers: [items, ...]; None = it gives none, or gives classes.
    """

    labels: tuple[str, ...] | None = None
    probabilities: Any = None
    numbers: Any = None

    @property
    def nothing(self) -> bool:
        """Whether no answer is there."""
        return self.labels is None and self.probabilities is None and self.numbers is None


class View:
    """How the outputs of a version are read.

    Args:
        signature: of the version.
    """

    def __init__(self, signature: Signature) -> None:
        label = signature.output(Role.LABEL)
        sure = signature.output(Role.PROBABILITIES)
        self._label = label.name if label is not None else ""
        self._coded = label is not None and label.datatype is not Datatype.BYTES
        self._sure = sure.name if sure is not None else ""
        self._classes = tuple(name_of(one) for one in signature.classes)
        self._texts = bool(signature.classes) and isinstance(signature.classes[0], str)
        score = signature.output(Role.SCORE) or signature.output(Role.TENSOR)
        plain = score is not None and score.datatype is not Datatype.BYTES
        self._number = score.name if score is not None and plain else ""
        if score is not None and not plain and not self._label:
            self._label = score.name

    def said(self, outputs: Mapping[str, Sequence[Any]]) -> Said:
        """The answer that some outputs are; empty where they are not there or hidden."""
        sure = self._probabilities(outputs.get(self._sure))
        labels = self._labels(outputs.get(self._label), sure)
        numbers = _array(outputs.get(self._number)) if labels is None else None
        return Said(labels, sure, numbers)

    def _probabilities(self, values: Sequence[Any] | None) -> Any:
        found = _array(values)
        if found is None or found.ndim > 2:
            return None
        if found.ndim == 1:  # of the second class only
            return np.stack([1 - found, found], axis=1)
        return found if found.shape[1] > 1 else None

    def _labels(self, values: Sequence[Any] | None, sure: Any) -> tuple[str, ...] | None:
        if values is not None and len(values) and not any(hidden(one) for one in values):
            return tuple(self._class(one) for one in values)
        if sure is None:
            return None
        names = self._classes or tuple(str(place) for place in range(sure.shape[1]))
        places = sure.argmax(1).tolist()
        return tuple(names[at] if at < len(names) else str(at) for at in places)

    def _class(self, value: Any) -> str:
        name = name_of(value) if not isinstance(value, bool) else str(int(value))
        if self._coded and self._texts and name.isdigit() and int(name) < len(self._classes):
            return self._classes[int(name)]
        return name


def right(label: str, truth: Any) -> bool:
    """Whether a class is the true one; 1, 1.0, true and "1" are one."""
    name = str(int(truth)) if isinstance(truth, bool | np.bool_) else name_of(truth)
    return label == name


def _array(values: Sequence[Any] | None) -> Any:
    """Numbers of even shape; None = they are none."""
    if values is None or not len(values):
        return None
    try:
        return np.array(values, np.float64)
    except (ValueError, TypeError):
        return None
