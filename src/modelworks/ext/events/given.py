"""Settings of brokers, checked; and what their messages have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelworks.ext import settings

CORRELATION: Final = "correlation-id"
REPLY: Final = "reply-to"
REASON: Final = "refused-because"
_MOST_REASON: Final = 1000
_MOST_S: Final = 3600


def checked(given: Mapping[str, str], known: Mapping[str, str], wanted: tuple[str, ...]) -> None:
    """Refuse settings that are not known, that are not there, and files that are not.

    Raises:
        InvalidError: `field` names it.
    """
    settings.checked(given, known, wanted, "broker")
    settings.files(given, "credentials", "password_file", "ca")


def seconds_of(given: Mapping[str, str], name: str, default: float) -> float:
    """A setting that is a time in seconds, 0.1 to 3600.

    Raises:
        InvalidError: it is none.
    """
    return settings.seconds_of(given, name, default, _MOST_S)


def reason_of(reason: str) -> str:
    """A reason as a header takes it: one line, ASCII."""
    return " ".join(reason.split()).encode("ascii", "backslashreplace").decode()[:_MOST_REASON]


def password_of(given: Mapping[str, str]) -> str:
    """What the file of a password says; empty without one."""
    path = given.get("password_file", "")
    return Path(path).read_text().strip() if path else ""
