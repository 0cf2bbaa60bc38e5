"""Truth values as labels: some of skl2onnx's converters take them for texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from modelworks.ext.importers.sklearn.walk import every


@contextmanager
def as_numbers(estimator: Any) -> Iterator[None]:
    """False and True are 0 and 1 meanwhile, which is what the model's graph gives for them."""
    changed = []
    for part in every(estimator):
        classes = getattr(part, "__dict__", {}).get("classes_")
        if isinstance(classes, np.ndarray) and classes.dtype == np.bool_:
            changed.append((part, classes))
            part.classes_ = classes.astype(np.int64)
    try:
        yield
    finally:
        for part, classes in reversed(changed):
            part.classes_ = classes
