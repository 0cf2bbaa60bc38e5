"""Options about what is recorded, for commands that serve."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from modelworks.apps.server_records import record_policy_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Recording:
    """What was asked for.

    Attributes:
        record: share of the requests; None = as the policy says.
        record_policy: file of a policy; empty = the default one.
        record_urgent: the logger is as urgent as the server.
        records: folder; given by the command.
        keys: of no meaning here.
    """

    record: float | None
    record_policy: str
    record_urgent: bool = False
    records: str = "records"
    keys: str = ""

    @property
    def wanted(self) -> bool:
        """Whether anything was said."""
        return self.record is not None or bool(self.record_policy)

    def arguments(self, folder: Path) -> list[str]:
        """The server's arguments, with records in that folder.

        Raises:
            InvalidError: a share or a policy that cannot be.
        """
        record_policy_of(self)
        told = ["--records", str(folder)]
        if self.record is not None:
            told += ["--record", f"{self.record:g}"]
        if self.record_policy:
            told += ["--record-policy", str(Path(self.record_policy).absolute())]
        return [*told, "--record-urgent"] if self.record_urgent else told


def recording_options(command: F) -> F:
    """Add `--record` and its like; the command gets them as `recording`."""

    @wraps(command)
    def gathered(*arguments: Any, **options: Any) -> Any:
        given = (options.pop(name) for name in ("record", "record_policy", "record_urgent"))
        recording = Recording(*given)
        return command(*arguments, recording=recording, **options)

    found: Any = gathered
    for option in reversed(_OPTIONS):
        found = option(found)
    return cast("F", found)


_OPTIONS = (
    click.option(
        "--record",
        type=float,
        metavar="SHARE",
        help="Of the requests that is recorded, 0 to 1 (default: as the models' policies say).",
    ),
    click.option(
        "--record-policy",
        default="",
        metavar="FILE",
        help="What is recorded of models without a policy of their own, and how (JSON).",
    ),
    click.option(
        "--record-urgent",
        is_flag=True,
        help="Drop no record where all cores are busy: requests then wait for the logger, too.",
    ),
)
