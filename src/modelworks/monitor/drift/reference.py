"""What drift is measured from: a sample that the model was trained on, prepared once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import NotFoundError
from modelworks.monitor.drift import derive
from modelworks.monitor.drift.cells import Cells
from modelworks.monitor.drift.derive import Kind
from modelworks.protocol.records.describing import of_images, of_text
from modelworks.stats.discrepancy import FourierMap

Array = NDArray[np.float64]


class Role(StrEnum):
    """What a column is to the model."""

    FEATURE = "feature"
    PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class Source:
    """A column of the data.

    Attributes:
        name: of it.
        kind: what it holds.
        role: what it is to the model.
        width: of vectors.
    """

    name: str
    kind: Kind
    role: Role = Role.FEATURE
    width: int = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """One plain column: a source itself, or what was derived from one.

    Attributes:
        name: of it.
        source: column that it comes from.
        role: what that is to the model.
        cells: into which its values are counted.
        counts: of the reference, by cell.
        centre: mean of the numbers; 0 of categories.
        scale: their standard deviation; 1 where they do not vary.
        losses: mean loss of the rows in each cell; 0 where there are none, or no loss is known.
        squares: mean of their squares.
    """

    name: str
    source: str
    role: Role
    cells: Cells
    counts: tuple[int, ...]
    centre: float = 0.0
    scale: float = 1.0
    losses: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Numbers that are looked at together: all numeric features, or one vector.

    Attributes:
        name: `*` for all numeric features, else the vector's column.
        columns: features that it consists of; empty = the vector itself.
        mapped: its random features.
        mean: mean of them in the reference.
        eigenvalues: of their covariance.
        rows: how many rows that mean is of.
        sample: some rows of the reference, for the classifier.
        losses: a loss a row of the sample; empty = none is known.
        centre: mean vector; empty where it is made of columns.
    """

    name: str
    columns: tuple[str, ...]
    mapped: FourierMap
    mean: Array
    eigenvalues: Array
    rows: int
    sample: NDArray[np.float32]
    losses: Array
    centre: Array


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, complete.

    Attributes:
        rows: of the data that it was made from.
        sources: columns of that data.
        features: plain columns, in the order of the sources.
        blocks: what is looked at together.
        samples: sorted numbers by feature.
        loss: what loss means: `error` (0 or 1), `absolute error`, `expected error` (one less the
            model's confidence), a column's name; empty = none is known.
        mean_loss: of the reference.
        digest: of the file; empty = it was never written.
        fitted: by source what its features are derived by: of a text the hashes of known words, of
            a long vector the centres of clusters. Files of before have none, nor such features.
    """

    rows: int
    sources: tuple[Source, ...]
    features: tuple[Feature, ...]
    blocks: tuple[Block, ...] = ()
    samples: Mapping[str, Array] = field(default_factory=dict)
    loss: str = ""
    mean_loss: float = 0.0
    digest: str = ""
    fitted: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def feature(self, name: str) -> Feature:
        """One of the features.

        Raises:
            NotFoundError: there is none of that name.
        """
        for found in self.features:
            if found.name == name:
                return found
        raise NotFoundError(f"the reference has no feature '{name}'", field="feature")

    def plain(self, columns: Mapping[str, Any]) -> "Plain":
        """Plain columns of data that has the reference's columns, or some of them.

        A text or an image of which records hold only the description (see
        `protocol.records.describing`) is found by the columns of that.
        """
        found: dict[str, Any] = {}
        vectors: dict[str, NDArray[np.float32]] = {}
        centres = {block.name: block.centre for block in self.blocks if not block.columns}
        for source in self.sources:
            own = [feature.name for feature in self.features if feature.source == source.name]
            if source.name not in columns:
                found |= {name: columns[name] for name in own if name in columns}
                continue
            column, fitted = columns[source.name], self.fitted.get(source.name)
            if source.kind is Kind.VECTOR:
                rows = derive.matrix(column, source.width)
                made = derive.of_vectors(source.name, rows, centres.get(source.name), fitted)
                vectors[source.name] = rows
            else:
                made = derived(source, column, fitted)
            nothing = np.full(len(column), np.nan)  # a grey image has no red
            found |= {name: made.get(name, nothing) for name in own}
        return Plain(found, vectors)


@dataclass(frozen=True, slots=True)
class Plain:
    """Data as plain columns.

    Attributes:
        columns: by feature.
        vectors: rows x numbers, by source.
    """

    columns: Mapping[str, Any]
    vectors: Mapping[str, NDArray[np.float32]]


def derived(source: Source, column: Any, fitted: NDArray[Any] | None = None) -> dict[str, Any]:
    """The plain columns of a source that is no vector."""
    if source.kind is Kind.TEXT:
        found = of_text(source.name, column)
        return found if fitted is None else found | derive.unknown(source.name, column, fitted)
    if source.kind is Kind.IMAGE:
        return of_images(source.name, column)
    return {source.name: column}
