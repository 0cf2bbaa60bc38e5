"""What the jobs' file holds, as values: what is written, what is claimed, what is told."""

from dataclasses import dataclass, field

from modelworks.core.jobs import JobState


@dataclass(frozen=True, slots=True)
class Submission:
    """A job as it is accepted.

    Attributes:
        id: UUIDv7.
        owner: whose it is; nobody else sees it. Empty where callers are not asked who they are.
        model: name, or name@alias.
        version: empty = that of the name.
        body: of the inference request; empty where `remote` says where it is.
        headers: of the request, those that matter: name -> value.
        rows: of the request; 0 = not known.
        created_ns: UTC.
        deadline_ns: UTC; it has its answer by then, or expires.
        key: of idempotency; empty = none.
        digest: of everything that was submitted; compared where a key comes again.
        remote: URL of the request's body; empty = it came.
        callback: URL that its end is told to; empty = none.
    """

    id: str
    owner: str
    model: str
    version: str
    body: bytes
    headers: dict[str, str]
    rows: int
    created_ns: int
    deadline_ns: int
    key: str = ""
    digest: bytes = b""
    remote: str = ""
    callback: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Jobs that run after each other: of one model, with inputs at hand or to be fetched.

    Attributes:
        model: as asked for.
        version: as asked for.
        remote: inputs come by URL.
    """

    model: str
    version: str
    remote: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this worker runs now.

    Attributes:
        seq: place in the file.
        id: of the job.
        attempt: this one's number; what ends it has to name it.
        body: of the request; None = it was damaged on the disk.
        headers: of the request.
        rows: 0 = not known.
        remote: URL of the body.
        deadline_ns: UTC.
        suspect: a worker ended while it ran; it runs alone.
    """

    seq: int
    id: str
    attempt: int
    body: bytes | None
    headers: dict[str, str]
    rows: int
    remote: str
    deadline_ns: int
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What a line's next jobs are.

    Attributes:
        jobs: in order; they are RUNNING now.
        suspect: the next one has to run alone, and was not taken.
    """

    jobs: tuple[Claimed, ...]
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended.

    Attributes:
        seq: of the job.
        attempt: its number.
        state: QUEUED = another attempt is due later.
        status: HTTP status that the request would have had.
        error: one line; empty where there is a result.
        body: of the answer, an error's too.
        kind: its content type.
        headers: that belong to it: name -> value.
        due_ns: UTC; when the next attempt is due.
    """

    seq: int
    attempt: int
    state: JobState
    status: int = 200
    error: str = ""
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    due_ns: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What a job gave.

    Attributes:
        state: of the job.
        status: HTTP status that the request would have had.
        body: of the answer.
        kind: its content type.
        headers: that belong to it.
    """

    state: JobState
    status: int
    body: bytes
    kind: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class CallbackDue:
    """Somebody who is to be told of a job's end.

    Attributes:
        seq: of the job.
        id: of it.
        url: to POST to.
        tries: that were made before.
        result: what is told.
    """

    seq: int
    id: str
    url: str
    tries: int
    result: Result


@dataclass(frozen=True, slots=True)
class Counts:
    """The file in numbers.

    Attributes:
        states: state -> jobs.
        callbacks: state of callbacks -> jobs.
        bytes: kept.
        oldest_ns: when the oldest waiting job was accepted; 0 = none waits.
    """

    states: dict[str, int]
    callbacks: dict[str, int]
    bytes: int
    oldest_ns: int
