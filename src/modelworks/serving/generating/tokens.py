"""Admission by tokens: what prompts and answers under way may have together, a model and a worker.

A prompt counts with the new tokens that it may make, until the engine is done with it.
"""

from collections.abc import Callable
from typing import Final

from modelworks.core.errors import InvalidError, LimitedError
from modelworks.core.seams import Conversing, Generating
from modelworks.protocol.routes.access import limited
from modelworks.protocol.routes.limits import Meter
from modelworks.serving.generating.generation import Admit, Generation

_FIELD: Final = "max_tokens"


class Tokens:
    """Of one model.

    Args:
        most: tokens that may be under way.
        context: tokens that one prompt and its answer can have; an answer ends there.

    Attributes:
        under_way: tokens that were let in and are not given back.
    """

    def __init__(self, most: int, context: int) -> None:
        self.under_way = 0
        self._most = most
        self._context = context

    def admit(self, prompt: int, new: int) -> Callable[[], None]:
        """Let a generation in; see `Admit`.

        Raises:
            InvalidError: the context has no room for an answer, or it wants more than there may be.
            LimitedError: others have them now.
        """
        if prompt >= self._context:
            raise InvalidError(
                f"the prompt has {prompt} tokens and the model's context {self._context}: there is "
                "no room for an answer",
                field="prompt",
            )
        wanted = min(prompt + new, self._context)
        if wanted > self._most:
            raise InvalidError(
                f"a prompt of {prompt} tokens and an answer of up to {wanted - prompt} are more "
                f"than the {self._most} that this model takes at a time: ask for fewer "
                "(max_tokens)",
                field=_FIELD,
            )
        if self.under_way + wanted > self._most:
            raise LimitedError(
                f"{self.under_way} tokens are under way and {wanted} more are wanted, of "
                f"{self._most} that this model takes at a time: try again, or ask for fewer "
                "(max_tokens)",
                field=_FIELD,
            )
        self.under_way += wanted

        def give_back() -> None:
            self.under_way -= wanted

        return give_back


class Charged:
    """A generation whose caller has a quota of tokens.

    Refused when nothing is left of it, counted when it is over: what is under way then may end
    beyond the quota.

    Args:
        meter: of the caller.
        within: lets it in beside; None = nobody else is asked.

    Attributes:
        generation: that is counted, once it has begun.
    """

    def __init__(self, meter: Meter, within: Admit | None) -> None:
        self.generation: Generation | None = None
        self._meter = meter
        self._within = within

    def admit(self, prompt: int, new: int) -> Callable[[], None]:
        """Let it in; see `Admit`.

        Raises:
            LimitedError: the quota is used up.
        """
        refused = self._meter.left()
        if refused is not None:
            raise limited(refused)
        release = self._within(prompt, new) if self._within is not None else None

        def give_back() -> None:
            if release is not None:
                release()
            if self.generation is not None and self.generation.made:
                self._meter.charge(prompt + self.generation.made)

        return give_back


def admission_of(session: Generating) -> Admit | None:
    """Who lets generations in; None = the model says nothing of tokens."""
    if not isinstance(session, Conversing) or not session.outstanding:
        return None
    return Tokens(session.outstanding, session.context).admit
