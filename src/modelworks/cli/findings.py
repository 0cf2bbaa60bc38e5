"""What a look at the machine found: one line of `doctor`'s report."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a finding is to be read."""

    OK = "ok"
    NOTE = "note"  # something optional is not here
    BROKEN = "broken"  # something needed does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: what was looked at.
        state: how it is.
        detail: what was found.
        cure: what to do about it; empty where nothing is to be done.
        experimental: a plug-in for which not every proof is there yet.
    """

    subject: str
    state: State
    detail: str
    cure: str = ""
    experimental: bool = False
