"""What the settings say about many models: memory, who stays, who waits, where engines run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from modelworks.apps.server_batching import said_of_batching
from modelworks.apps.server_kept import KeptSettings, cache_of, sequences_of
from modelworks.apps.server_records import RecordSettings, record_policy_of
from modelworks.core.errors import InvalidError
from modelworks.core.instances import parsed
from modelworks.core.reference import model_name
from modelworks.core.served import Isolation
from modelworks.serving.policy import Policy

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)", re.IGNORECASE)
_POWERS: Final[Mapping[str, int]] = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LEAST: Final = 64 << 20
_NAME: Final = "footprints.json"


class ModelSettings(RecordSettings, KeptSettings, Protocol):
    """Those settings of a server that are about its models."""

    @property
    def served(self) -> str:
        """Served list to follow."""

    @property
    def memory_limit(self) -> str:
        """`4GB`; empty = what the system has, less a reserve; `none` = no limit."""

    @property
    def pin(self) -> str:
        """Names, with commas between."""

    @property
    def lazy(self) -> bool:
        """Models are loaded when they are asked for."""

    @property
    def isolation(self) -> str:
        """`thread` or `process`; empty = as the list says."""

    @property
    def instances(self) -> str:
        """`cuda:0*2,cpu`; empty = one copy of each model."""

    @property
    def revision(self) -> str:
        """Of the deployment; empty = there is none."""


def policy_of(settings: ModelSettings) -> Policy:
    """What a server does with its models.

    Raises:
        InvalidError: an impossible setting; `field` names it.
    """
    none = settings.memory_limit == "none"
    isolation = None
    if settings.isolation:
        try:
            isolation = Isolation(settings.isolation)
        except ValueError as error:
            raise InvalidError(
                f"isolation: '{settings.isolation[:40]}' is none of thread, process",
                field="isolation",
            ) from error
    names = [name.strip() for name in settings.pin.split(",") if name.strip()]
    return Policy(
        limited=not none,
        memory_bytes=0 if none else memory_bytes(settings.memory_limit),
        lazy=settings.lazy,
        pinned=frozenset(model_name(name) for name in names),
        isolation=isolation,
        batching=tuple(said_of_batching(settings).items()),
        records=record_policy_of(settings),
        revision=settings.revision,
        cache=cache_of(settings),
        sequences=sequences_of(settings),
        instances=parsed(settings.instances),
        footprints=Path(settings.served).absolute().parent / _NAME if settings.served else None,
    )


def memory_bytes(text: str) -> int:
    """`4GB`, `512MiB` or plain bytes; 0 for nothing. GB and GiB: 1000 and 1024 to the power.

    Raises:
        InvalidError: no size, or less than a server takes without any model.
    """
    if not text:
        return 0
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidError(
            f"memory_limit: '{text[:40]}' is no size; write 4GB, 512MiB or none",
            field="memory_limit",
        )
    number, unit = found.groups()
    base = 1024 if "i" in unit.lower() else 1000
    size = int(float(number) * base ** _POWERS[unit[:1].lower().rstrip("b")])
    if size < _LEAST:
        raise InvalidError(
            f"memory_limit: '{text[:40]}' is less than the 64 MiB that a server without models has",
            field="memory_limit",
        )
    return size
