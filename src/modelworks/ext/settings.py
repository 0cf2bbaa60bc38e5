"""What a user says of a receiver or a broker, name to text: checked before anything is opened."""

from collections.abc import Mapping
from pathlib import Path

from modelworks.core.errors import InvalidError


def checked(
    given: Mapping[str, str], known: Mapping[str, str], wanted: tuple[str, ...], of: str
) -> None:
    """Refuse settings that are not known, and that are not there.

    Args:
        given: as they were said.
        known: name to what it is for.
        wanted: names without which nothing can be done.
        of: what they are settings of, in messages: `sink`.

    Raises:
        InvalidError: `field` names it.
    """
    for name in given:
        if name not in known:
            raise InvalidError(
                f"'{name}' is no setting of this {of}; there are {', '.join(known)}", field=name
            )
    for name in wanted:
        if not given.get(name):
            raise InvalidError(f"{name}: {known[name]}; it is wanted", field=name)


def files(given: Mapping[str, str], *names: str) -> None:
    """Refuse settings that name a file where there is none; unsaid ones are fine.

    Raises:
        InvalidError: `field` names it.
    """
    for name in names:
        if given.get(name) and not Path(given[name]).is_file():
            raise InvalidError(f"{name}: no file {given[name]}", field=name)


def seconds_of(given: Mapping[str, str], name: str, default: float, most: int) -> float:
    """A setting that is a time in seconds.

    Raises:
        InvalidError: it is no number from 0.1 to `most`.
    """
    text = given.get(name, "")
    try:
        found = float(text) if text else default
    except ValueError:
        found = -1.0
    if not 0.1 <= found <= most:
        raise InvalidError(f"{name}: '{text}' is no number of seconds, 0.1 to {most}", field=name)
    return found
