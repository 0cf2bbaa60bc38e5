"""Asynchronous inference: what a job is, and the states it goes through."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"  # its result can be had
    FAILED = "failed"  # it was refused, or every attempt failed
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # its time was over before it had an answer

    @property
    def ended(self) -> bool:
        """Whether nothing moves it any more."""
        return not MOVES[self]


MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {
            JobState.QUEUED,  # its worker ended, or the model was busy: another attempt
            JobState.DONE,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.EXPIRED,
        }
    ),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.EXPIRED: frozenset(),
}


class CallbackState(StrEnum):
    """Where the telling of a job's end is."""

    NONE = "none"  # nobody is to be told
    WAITING = "waiting"  # the job has not ended
    PENDING = "pending"  # it has ended, and is told or told again
    DELIVERED = "delivered"
    DEAD = "dead"  # every attempt failed; the result can still be fetched


CALLBACK_MOVES: Final[dict[CallbackState, frozenset[CallbackState]]] = {
    CallbackState.NONE: frozenset(),
    CallbackState.WAITING: frozenset({CallbackState.PENDING}),
    CallbackState.PENDING: frozenset({CallbackState.DELIVERED, CallbackState.DEAD}),
    CallbackState.DELIVERED: frozenset(),
    CallbackState.DEAD: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Job:
    """What is told of one job.

    Attributes:
        id: UUIDv7.
        model: as it was asked for.
        version: empty = that of the model's name, as it is when the job runs.
        state: see there.
        created_ns: UTC nanoseconds, as those that follow; 0 = not yet.
        started_ns: of the last attempt.
        ended_ns: when it got its last state.
        deadline_ns: it has its answer by then, or expires.
        attempts: how often it was begun.
        error: why it has no result; empty otherwise.
        callback: where its end is told; empty = nowhere.
        callback_state: see there.
        callback_tries: that were made.
        callback_error: why the last one failed.
        position: jobs before it in its model's queue, counted to 10,000; None = it does not wait.
    """

    id: str
    model: str
    version: str
    state: JobState
    created_ns: int
    started_ns: int = 0
    ended_ns: int = 0
    deadline_ns: int = 0
    attempts: int = 0
    error: str = ""
    callback: str = ""
    callback_state: CallbackState = CallbackState.NONE
    callback_tries: int = 0
    callback_error: str = ""
    position: int | None = None
