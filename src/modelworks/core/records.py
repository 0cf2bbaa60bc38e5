"""What is kept of a prediction, and what a policy lets through. See docs/records.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelworks.core.errors import InvalidError

MAX_BYTES = 65_536


class Act(StrEnum):
    """What is done to a field before anything is written."""

    KEEP = "keep"
    DROP = "drop"  # neither name nor value is written
    HASH = "hash"  # HMAC-SHA-256 under the installation's key: equal values stay equal
    MASK = "mask"  # letters and digits become `*`, the length stays
    TOKENIZE = "tokenize"  # a random token; the value lies in a vault and can be erased there
    DESCRIBE = "describe"  # of a text or a picture a few numbers instead: see docs/records.md


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """What is done to one field.

    Attributes:
        field: name of a feature, an input or an output; `header:NAME` is a request's header, which
            is kept only where it is named.
        act: what is done.
    """

    field: str
    act: Act


@dataclass(frozen=True, slots=True)
class RecordPolicy:
    """Which predictions of a model are recorded, and how.

    Attributes:
        sample: share of the requests, 0 to 1; 0 = none.
        inputs: whether inputs are kept.
        outputs: whether outputs are kept.
        fields: acts by field; what is not named is kept.
        detect_pii: texts are searched for e-mail addresses, telephone, card and account numbers,
            and what is found is masked, whatever `fields` says.
        key: a feature, or `header:NAME`, whose value is the business key that feedback may come by.
        subject: the same for the person that a prediction is about, by whom it can be erased.
        max_bytes: of a request's and of an answer's body; of larger ones the body is left out, and
            the record says so.
        retention_days: after which records are deleted; 0 = never.
    """

    sample: float = 0.0
    inputs: bool = True
    outputs: bool = True
    fields: tuple[FieldPolicy, ...] = ()
    detect_pii: bool = True
    key: str = ""
    subject: str = ""
    max_bytes: int = MAX_BYTES
    retention_days: int = 30

    def check(self, where: str = "") -> None:
        """Refuse what cannot be.

        Raises:
            InvalidError: a value out of its bounds; `field` names it.
        """
        for name, lowest, highest in (
            ("sample", 0, 1),
            ("max_bytes", 0, 1 << 30),
            ("retention_days", 0, 36_500),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:  # NaN is out of all bounds
                path = f"{where}.{name}".lstrip(".")
                raise InvalidError(f"{path}: {value} is not from {lowest} to {highest}", field=path)


@dataclass(frozen=True, slots=True)
class Record:
    """One request that a model answered or refused, after the policy.

    Attributes:
        id: the request's own `id`, else its `X-Request-Id`, else a UUIDv7 of ours; of a shadow's
            copy that of the request, `~` and the arm.
        at_ns: UTC, when the request was complete.
        model: name.
        version: of it.
        revision: of the deployment, `fraud/3`; empty = it was served without one.
        variant: empty = the source form.
        tenant: who owns it.
        caller: name of the API key; empty = none was asked for.
        arm: of a route; empty = no route chose who answers.
        status: HTTP.
        error: what the caller was told; empty = it was answered.
        rows: items of the request.
        total_ns: from the last byte of the request to the answer's hand-over to the socket.
        decode_ns: of them, bytes to tensors.
        queue_ns: of them, waiting for the engine.
        compute_ns: of them, the engine's call.
        cached: the answer had been kept, or was computed for another caller: no call was its own.
        trace: W3C trace id, 32 hexadecimal digits; empty = none came with it.
        key: business key; empty = the policy names none.
        subject: as the policy writes it (hashed or a token, where it says so).
        headers: those that the policy names.
        inputs: feature or input name -> a value an item; None = not kept.
        outputs: output name -> a value an item; None = not kept, or refused.
        left_out: `inputs`, `outputs`: bodies that were too large to keep or could not be read.
    """

    id: str
    at_ns: int
    model: str
    version: str
    revision: str = ""
    variant: str = ""
    tenant: str = "default"
    caller: str = ""
    arm: str = ""
    status: int = 200
    error: str = ""
    rows: int = 1
    total_ns: int = 0
    decode_ns: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    cached: bool = False
    trace: str = ""
    key: str = ""
    subject: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Sequence[Any]] | None = None
    outputs: Mapping[str, Sequence[Any]] | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """Which records are wanted.

    Attributes:
        tenant: whose.
        model: of one model; empty = of all.
        version: of one version; empty = of all.
        since_ns: UTC, the first instant.
        until_ns: UTC, the first instant that is not.
    """

    tenant: str = "default"
    model: str = ""
    version: str = ""
    since_ns: int = 0
    until_ns: int = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Records as columns, a line an item of a request.

    Attributes:
        columns: `id`, `item` (0 is a request's first), `at_ns` and the other fields of `Record`,
            `in.NAME` and `out.NAME`, `header.NAME`; each an array of as many values (numpy: numbers
            and truth values as they are, texts and lists as objects; not kept or missing is None,
            and NaN in a column of numbers).
        count: of lines.
    """

    columns: Mapping[str, Any]
    count: int


@dataclass(frozen=True, slots=True)
class Part:
    """An hour of a model in a store.

    Attributes:
        model: whose.
        since_ns: UTC, its beginning; it ends an hour later.
        mark: of what lies in it: another one where that changed.
        count: of records.
    """

    model: str
    since_ns: int
    mark: str
    count: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a prediction, as somebody told it: the truth, or what it was worth.

    It belongs to the predictions with that id, or with that business key. The last by `at_ns` wins,
    for the truth and for each outcome; what comes again under the same id counts once.

    Attributes:
        id: of this feedback.
        model: name.
        at_ns: UTC, when it became known.
        received_ns: UTC, when it reached us.
        prediction: id of the request; empty = the key says which.
        key: business key; empty = the id says which.
        item: of the request, 0 is its first.
        truth: what the model should have answered: a number, truth value, text, or a list of them
            (labels); None = not known.
        outcomes: what came of it, by name: `revenue`, `clicked`.
        tenant: who owns it.
    """

    id: str
    model: str
    at_ns: int
    received_ns: int
    prediction: str = ""
    key: str = ""
    item: int = 0
    truth: Any = None
    outcomes: dict[str, float | bool] = field(default_factory=dict)
    tenant: str = "default"
