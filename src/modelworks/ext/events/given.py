"""Settings of brokers, checked; and what their messages have in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelworks.core.errors import InvalidError

CORRELATION: Final = "correlation-id"
REPLY: Final = "reply-to"
REASON: Final = "refused-because"
_MOST_REASON: Final = 1000


def checked(given: Mapping[str, str], known: Mapping[str, str], wanted: tuple[str, ...]) -> None:
    """Refuse settings that are not known, that are not there, and files that are not.

    Raises:
        InvalidError: `field` names it.
    """
    for name in given:
        if name not in known:
            raise InvalidError(
                f"'{name}' is no setting of this broker; there are {', '.join(known)}", field=name
            )
    for name in wanted:
        if not given.get(name):
            raise InvalidError(f"{name}: {known[name]}; it is wanted", field=name)
    for name in ("credentials", "password_file", "ca"):
        if given.get(name) and not Path(given[name]).is_file():
            raise InvalidError(f"{name}: no file {given[name]}", field=name)


def seconds_of(given: Mapping[str, str], name: str, default: float) -> float:
    """A setting that is a time in seconds.

    Raises:
        InvalidError: it is no number from 0.1 to 3600.
    """
    text = given.get(name, "")
    try:
        found = float(text) if text else default
    except ValueError:
        found = -1.0
    if not 0.1 <= found <= 3600:
        raise InvalidError(f"{name}: '{text}' is no number of seconds, 0.1 to 3600", field=name)
    return found


def reason_of(reason: str) -> str:
    """A reason as a header takes it: one line, ASCII."""
    return " ".join(reason.split()).encode("ascii", "backslashreplace").decode()[:_MOST_REASON]


def password_of(given: Mapping[str, str]) -> str:
    """What the file of a password says; empty without one."""
    path = given.get("password_file", "")
    return Path(path).read_text().strip() if path else ""
