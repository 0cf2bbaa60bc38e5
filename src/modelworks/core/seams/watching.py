"""What keeps, sends on, tells and explains what models did."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from modelworks.core.alerts import Notification
from modelworks.core.records import Batch, Feedback, Part, Record, Scan


class RecordStore(Protocol):
    """Where records lie for good. Every call has a deadline of its own; one writer a tenant."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep them: all or none, and on the disk (or in the bucket) when it returns.

        Records that are there already (same tenant, model, id and time) are not kept twice.

        Raises:
            UnavailableError: no room, or nobody answers; nothing of them is kept.
        """
        ...

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """What is there, in the order of time; `columns` = only those, empty = all.

        Raises:
            UnavailableError: nobody answers.
        """
        ...

    def parts(self, wanted: Scan) -> Sequence[Part]:
        """The hours in which something of it may lie, in the order of time; nothing is opened.

        Raises:
            UnavailableError: nobody answers.
        """
        ...

    def expire(self, tenant: str, model: str, before_ns: int) -> int:
        """Delete what is older; how many records went."""
        ...

    def erase(self, tenant: str, subjects: Sequence[str]) -> int:
        """Rewrite without every record of these subjects, as written; how many records went."""
        ...


class FeedbackStore(Protocol):
    """Where feedback lies for good; as `RecordStore` (group `modelworks.feedback`)."""

    def write(self, told: Sequence[Feedback]) -> None:
        """Keep it: all or none, and on the disk (or in the bucket) when it returns.

        What is there already (same tenant, model, id and `received_ns`) is not kept twice.

        Raises:
            UnavailableError: no room, or nobody answers; nothing of it is kept.
        """
        ...

    def scan(self, wanted: Scan, columns: Sequence[str] = ()) -> Iterator[Batch]:
        """What was received in that time, in that order: its fields, outcomes as `outcome.NAME`."""
        ...

    def parts(self, wanted: Scan) -> Sequence[Part]:
        """The hours in which something of it was received."""
        ...

    def expire(self, tenant: str, model: str, before_ns: int) -> int:
        """Delete what was received before; how much went."""
        ...

    def erase(self, tenant: str, predictions: Sequence[str], keys: Sequence[str]) -> int:
        """Rewrite without what belongs to these predictions or keys; how much went."""
        ...


class RecordSink(Protocol):
    """Somewhere else that records are sent on to: a broker, a webhook."""

    name: ClassVar[str]
    extra: ClassVar[str]  # the pip extra that brings its library; "" = none
    experimental: ClassVar[bool]
    settings: ClassVar[Mapping[str, str]]  # name -> meaning

    def open(self, settings: Mapping[str, str]) -> "OpenSink":
        """Reach it.

        Raises:
            InvalidError: a setting that cannot be; `field` names it.
            UnavailableError: nobody answers there.
        """
        ...


class OpenSink(Protocol):
    """A sink, reached. Used by one thread at a time."""

    def send(self, records: Sequence[Record]) -> None:
        """Hand them over; it returns when they were taken, at least once.

        Raises:
            UnavailableError: they were not all taken within the deadline: the same ones come again.
        """
        ...

    def close(self) -> None:
        """Let go of it; twice is quiet."""
        ...


class Notifier(Protocol):
    """A way to tell somebody of alerts."""

    name: ClassVar[str]
    experimental: ClassVar[bool]
    settings: ClassVar[Mapping[str, str]]  # name -> meaning; secrets are read where they are used

    def send(self, told: Notification, settings: Mapping[str, str]) -> None:
        """Tell it, within ten seconds.

        Raises:
            InvalidError: a setting that cannot be, or the receiver refuses what it was told and
                would again; `field` names the setting.
            UnavailableError: nobody took it: it may be told again later.
        """
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each feature did to each answer.

    Attributes:
        features: names, in the order of the columns.
        base: what the model says of the background on average; one a class, or one.
        values: rows x features (x classes): additive to the answer less the base, where `additive`.
        error: standard errors of `values`, same shape; None = exact.
        additive: whether they sum up.
        calls: rows that the model was asked.
        link: of the answer, under which they sum up: empty = as it is, `logit` (log-odds), `log`,
            `softmax` (scores before it, known up to a constant a row).
    """

    features: tuple[str, ...]
    base: Any
    values: Any
    error: Any = None
    additive: bool = True
    calls: int = 0
    link: str = ""


class Explainer(Protocol):
    """Says why a model answered as it did."""

    name: ClassVar[str]
    extra: ClassVar[str]
    experimental: ClassVar[bool]

    def explain(
        self,
        predict: Callable[[Any], Any],
        rows: Any,
        background: Any,
        options: Mapping[str, Any],
    ) -> Explanation:
        """Explain rows.

        Args:
            predict: rows x features (float64) -> rows (x classes), in batches of any size.
            rows: rows x features that are explained.
            background: rows x features that stand for "not known".
            options: `seed`, `samples` (calls a row at most), `features` (names of the columns),
                `artifact` (a path: explainers that know a model's own form read it; they refuse
                what they do not know).

        Raises:
            InvalidError: rows or options that cannot be.
            UnsupportedError: the model's form is not known to this explainer.
        """
        ...
