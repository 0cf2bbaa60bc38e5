"""The errors any room may raise. They know nothing of HTTP or exit codes: only the edges map them.

* ModelworksError
  x InvalidError               the caller's input is wrong; `field` says where
    - RefusedError             understood, and refused by policy (unsafe file, failed check)
  x UnauthenticatedError       no API key, or one that is not known
  x ForbiddenError             the key is known, and not good for this
  x NotFoundError
  x ConflictError              against the state of things (exists already, alias in the way)
  x UnsupportedError           known, and not offered here
  x UnavailableError           the only one a client should retry
    - DeadlineError            the caller's own time ran out
    - LimitedError             the caller has asked too much for now
  x MissingExtraError          a library is not installed; the message names the command
  x CorruptError               stored bytes are not what was stored
  x CrashedError               a worker or engine failed; nothing the caller did
"""

from typing import Final

UNLOADED: Final = "the model was unloaded while this request waited; try again"
"""What an `UnavailableError` says to who asked a session that was closed meanwhile."""


class ModelworksError(Exception):
    """Base of every error whose message is safe and useful to show to a user.

    Args:
        message: what is wrong, where, and the cure, in one line.
        field: the name of the offending input (`inputs[0].shape`), when there is one.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidError(ModelworksError):
    """The input cannot be what the caller meant."""


class RefusedError(InvalidError):
    """The input was understood and is refused: unsafe, or a check failed."""


class UnauthenticatedError(ModelworksError):
    """Who asks is not known: no API key, or a wrong one."""


class ForbiddenError(ModelworksError):
    """Who asks is known and may not do this."""


class NotFoundError(ModelworksError):
    """The named thing does not exist, or is not visible to this tenant."""


class ConflictError(ModelworksError):
    """The act contradicts the present state."""


class UnsupportedError(ModelworksError):
    """A known feature that this build, engine or target does not offer."""


class UnavailableError(ModelworksError):
    """Not now: loading, draining, or full. Retrying later may work."""

    def __init__(self, message: str, *, field: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, field=field)
        self.retry_after = retry_after


class DeadlineError(UnavailableError):
    """The caller's deadline passed before the work began; it was not done."""


class LimitedError(UnavailableError):
    """A rate or a quota is used up; `retry_after` says for how long."""


class MissingExtraError(ModelworksError):
    """A plug-in is known but a library that it needs is not installed."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        super().__init__(f'{what} needs {missing!r}: pip install "modelworks[{extra}]"')
        self.extra = extra
        self.missing = missing


class CorruptError(ModelworksError):
    """Stored bytes do not match their digest."""


class CrashedError(ModelworksError):
    """A worker process or an engine failed."""
