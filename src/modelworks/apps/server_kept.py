"""What the settings say of kept answers and of sequences, for models whose lines say nothing."""

import json
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from modelworks.core import codec
from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.served import read_served
from modelworks.core.stateful import Sequences

T = TypeVar("T")
_ON: Final = "on"
_LARGEST: Final = 1 << 20


ONE_PROCESS: Final = "one worker: a model keeps sequences, and those lie in one process"
"""Why `--workers auto` is 1."""


class KeptSettings(Protocol):
    """Those settings of a server that are about what it keeps from one request to the next."""

    @property
    def cache(self) -> str:
        """`on`, JSON of an `AnswerCache`, or a file of it; empty = no answer is kept."""

    @property
    def sequences(self) -> str:
        """JSON of `Sequences`, or a file of it; empty = none are kept."""


def cache_of(settings: KeptSettings) -> AnswerCache | None:
    """How answers are kept; None = they are not.

    Raises:
        InvalidError: no such setting; `field` names it.
    """
    if not settings.cache:
        return None
    if settings.cache == _ON:
        return AnswerCache()
    found = read_as(AnswerCache, settings.cache, "cache")
    found.check("cache")
    return found


def sequences_of(settings: KeptSettings) -> Sequences | None:
    """How sequences are kept; None = they are not.

    Raises:
        InvalidError: no such setting, or answers are to be kept too; `field` names it.
    """
    if not settings.sequences:
        return None
    if settings.cache:
        raise InvalidError(
            "cache and sequences: a model that remembers answers the same question otherwise each "
            "time; say one of them, or each in its model's line of a served list",
            field="cache",
        )
    found = read_as(Sequences, settings.sequences, "sequences")
    found.check("sequences")
    return found


class ServedSettings(KeptSettings, Protocol):
    """And what is served."""

    @property
    def served(self) -> str:
        """Served list; empty = a file."""


def keeps_sequences(settings: ServedSettings) -> bool:
    """Whether any model remembers: all of its requests have to come to one process."""
    if settings.sequences:
        return True
    if not settings.served:
        return False
    try:
        listed = read_served(Path(settings.served))
    except ModelworksError:
        return False  # whoever loads it says why
    return any(model.sequences is not None for model in listed.models)


def read_as(kind: type[T], said: str, field: str) -> T:
    """What JSON, or a file of it, says.

    Raises:
        InvalidError: it cannot be read, or is something else.
    """
    whole = said.lstrip().startswith("{")
    try:
        if not whole and Path(said).stat().st_size > _LARGEST:
            raise InvalidError(f"{field}: {said} is over 1 MiB", field=field)
        data: Any = json.loads(said if whole else Path(said).read_bytes())
    except OSError as error:
        raise InvalidError(
            f"{field}: {said[:200]} cannot be read: {error.strerror}", field=field
        ) from error
    except ValueError as error:
        what = "it" if whole else said
        raise InvalidError(f"{field}: {what[:200]} is no JSON: {error}", field=field) from error
    return codec.decode(kind, data, field)
