"""What the settings say about records: the folder, the policy, and the logger beside the server."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.records import RecordPolicy
from modelworks.serving.logger_process import LoggerProcess

LAST_RECORDS_S: Final = 5.0
"""That a server waits, as it ends, for its logger to write what it has; the logger goes on then."""


class RecordSettings(Protocol):
    """Those settings of a server that are about records."""

    @property
    def records(self) -> str:
        """Folder; empty = nothing is recorded."""

    @property
    def record(self) -> float | None:
        """Share of the requests; None = as the policy says."""

    @property
    def record_policy(self) -> str:
        """A policy as JSON, or the file of one; empty = the default one."""

    @property
    def record_urgent(self) -> bool:
        """Whether the logger is as urgent as the server."""

    @property
    def keys(self) -> str:
        """File of API keys."""


def record_policy_of(settings: RecordSettings) -> RecordPolicy | None:
    """The policy of models that have none of their own; None = they are not recorded.

    Raises:
        InvalidError: a setting that cannot be, or one that goes with another; `field` names it.
    """
    for name in ("record", "record_policy", "record_urgent"):
        if getattr(settings, name) and not settings.records:
            raise InvalidError(f"{name} goes with records, the folder they lie in", field=name)
    if not settings.record_policy:
        if settings.record is None:
            return None
        policy = RecordPolicy(sample=settings.record)
    else:
        policy = _read(settings.record_policy)
        if settings.record is not None:
            policy = replace(policy, sample=settings.record)
    policy.check("record" if not settings.record_policy else "record_policy")
    return policy


def logger_of(settings: RecordSettings) -> LoggerProcess | None:
    """The logger that goes with a server, not started; None = nothing is recorded."""
    if not settings.records:
        return None
    told = ["--folder", settings.records]
    if settings.keys:
        told += ["--keys", settings.keys]
    if settings.record_urgent:
        told.append("--urgent")
    module = [sys.executable, "-m", "modelworks.apps.logger", *told]
    policy = record_policy_of(settings)
    at_once = policy is not None and policy.sample > 0
    return LoggerProcess(lambda door: [*module, "--door", str(door)], at_once=at_once)


def _read(said: str) -> RecordPolicy:
    whole = said.lstrip().startswith("{")
    try:
        data: Any = json.loads(said if whole else Path(said).read_bytes())
    except OSError as error:
        raise InvalidError(
            f"record_policy: {said} cannot be read: {error.strerror}", field="record_policy"
        ) from error
    except ValueError as error:
        what = "it" if whole else said
        raise InvalidError(
            f"record_policy: {what} is no JSON: {error}", field="record_policy"
        ) from error
    return codec.decode(RecordPolicy, data, "record_policy")
