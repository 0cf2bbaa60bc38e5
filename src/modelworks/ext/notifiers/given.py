"""Settings of a notifier: those that are known, and secrets from where they lie."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError

_LARGEST: Final = 65_536


def checked(
    settings: Mapping[str, str], known: Mapping[str, str], required: tuple[str, ...] = ()
) -> None:
    """Refuse what is not known or missing.

    Raises:
        InvalidError: `field` names the setting.
    """
    for name in settings:
        if name not in known:
            words = f"there is no setting '{name}'; known are {', '.join(known)}"
            raise InvalidError(words, field=name)
    for name in required:
        if not settings.get(name):
            raise InvalidError(f"the setting '{name}' is wanted: {known[name]}", field=name)


def secret(settings: Mapping[str, str], name: str, *, required: bool = True) -> str:
    """A secret: from the file `NAME_file`, or from the environment variable `NAME_variable`.

    Raises:
        InvalidError: neither is said, both are, or nothing is there.
    """
    file, variable = settings.get(f"{name}_file", ""), settings.get(f"{name}_variable", "")
    if file and variable:
        words = f"one of {name}_file and {name}_variable is wanted, not both"
        raise InvalidError(words, field=f"{name}_file")
    if file:
        return _read(file, f"{name}_file")
    if variable:
        found = os.environ.get(variable, "").strip()
        if not found:
            words = f"{name}_variable: the environment variable {variable} is not set here"
            raise InvalidError(words, field=f"{name}_variable")
        return found
    if required:
        words = f"{name}_file or {name}_variable is wanted: where the secret lies"
        raise InvalidError(words, field=f"{name}_file")
    return ""


def _read(file: str, field: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            found = opened.read(_LARGEST).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "no text"
        raise InvalidError(f"{field}: {file}: {words}", field=field) from None
    if not found:
        raise InvalidError(f"{field}: {file} is empty", field=field)
    return found


def address(url: str, field: str, *, plain: bool = False) -> str:
    """A URL that may be posted to.

    Args:
        url: as given; it may be a secret, so no message repeats it.
        field: for messages.
        plain: whether http:// to another machine is allowed.

    Raises:
        InvalidError: it is none, or what it holds would go over the network in the open.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    clean = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not host or not clean:
        raise InvalidError(f"{field}: no URL: https://HOST/... is wanted", field=field)
    if parts.scheme == "http" and not plain and not here(host):
        words = f"{field}: http:// to another machine shows the secret in it; use https://"
        raise InvalidError(words, field=field)
    return url


def here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
