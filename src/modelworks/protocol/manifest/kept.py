"""What a replica keeps from one request to the next: answers, and the states of sequences."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from modelworks.core.caching import PROCESS, AnswerCache
from modelworks.core.errors import InvalidError
from modelworks.core.stateful import ZEROS
from modelworks.core.stateful import Sequences as Limits
from modelworks.core.stateful import State as Declared
from modelworks.protocol.manifest.fields import Memory, Part


class Cache(Part):
    """Answers that are kept and given again; see `docs/cache.md`."""

    max_bytes: Memory = 64 << 20
    """Of each worker's memory."""
    ttl_s: float = 0.0
    """Older answers are computed again; 0 = only room decides."""
    backend: Annotated[str, Field(max_length=1024)] = PROCESS
    """`process`, or `redis://host:port/db`, which all replicas share. One with a password comes
    from a secret: the variable MODELWORKS_SERVER_CACHE."""
    timeout_ms: float = 20.0
    """The longest that a request waits for Redis."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if "@" in self.backend:
            raise ValueError(
                "backend has a password, and a manifest is kept in git: leave cache out, and give "
                "the variable MODELWORKS_SERVER_CACHE from secrets"
            )
        try:
            AnswerCache(self.max_bytes, self.ttl_s, self.backend, self.timeout_ms).check("")
        except InvalidError as error:
            raise ValueError(error.message) from None
        return self


class State(Part):
    """What a model gives back to itself."""

    input: Annotated[str, Field(min_length=1, max_length=1024)]
    """Of the model; callers do not see it."""
    output: Annotated[str, Field(min_length=1, max_length=1024)]
    """Whose value is the next request's input."""
    initial: Annotated[str, Field(max_length=255)] = ZEROS
    """What a sequence begins with: `zeros`, or a `.npy` file beside the model."""
    axis: Annotated[int, Field(ge=0, le=31)] = 0
    """Where the batch lies."""


class Sequences(Part):
    """What a recurrent model remembers; see `docs/sequences.md`."""

    state: Annotated[list[State], Field(min_length=1, max_length=256)]
    """One or more."""
    idle_s: float = 60.0
    """After which a sequence that nobody asked for is forgotten."""
    max: int = 1000
    """Sequences at most."""
    max_bytes: Memory = 256 << 20
    """Of all their states."""
    drain_s: float = 10.0
    """How long a version that is replaced goes on for the sequences that it has."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        states = tuple(Declared(s.input, s.output, s.initial, s.axis) for s in self.state)
        try:
            Limits(states, self.idle_s, self.max, self.max_bytes, self.drain_s).check("")
        except InvalidError as error:
            raise ValueError(error.message) from None
        return self
