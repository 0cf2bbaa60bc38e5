"""Settings of a process: its command line over its environment over the defaults.

What the server and the gateway are told differs; how they read it does not.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modelworks.core.errors import InvalidError
from modelworks.edge.access_lines import Form
from modelworks.edge.tls import TlsFiles

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

Kind = Callable[[str], Any]
"""Makes a value of a variable's text; raises ValueError, which says why, where it is none."""


class Secured(Protocol):
    """Settings of a port that may speak TLS and keep an access log."""

    @property
    def tls_cert(self) -> str:
        """Certificate with its chain; "" = plain HTTP."""
        ...

    @property
    def tls_key(self) -> str:
        """Its key; "" = in the same file."""
        ...

    @property
    def client_ca(self) -> str:
        """Authorities of clients; "" = none are asked for."""
        ...

    @property
    def access_log_format(self) -> str:
        """See `Form`."""
        ...


def read(
    base: T,
    parser: argparse.ArgumentParser,
    sources: tuple[Sequence[str], Mapping[str, str]],
    prefix: str,
    kinds: Mapping[str, Kind],
) -> T:
    """The settings that a command line and an environment tell.

    Args:
        base: the defaults.
        parser: of the command line; what is not given there is None.
        sources: arguments and environment.
        prefix: of the variables that are ours.
        kinds: see `kinds_of`.

    Raises:
        InvalidError: an unknown or impossible variable; `field` names it.
    """
    arguments, environ = sources
    told = from_environment(environ, prefix, kinds)
    given = vars(parser.parse_args(arguments))
    told.update((name, value) for name, value in given.items() if value is not None)
    return replace(base, **told)


def kinds_of(base: "DataclassInstance") -> dict[str, Kind]:
    """Field -> type of its default; what a supervisor alone may say (`worker`) is none of them."""
    kinds: dict[str, Kind] = {f.name: type(getattr(base, f.name)) for f in fields(base)}
    del kinds["worker"]
    return kinds


def from_environment(
    environ: Mapping[str, str], prefix: str, kinds: Mapping[str, Kind]
) -> dict[str, Any]:
    """The settings that variables tell, by field; other programs' variables are passed over.

    Raises:
        InvalidError: a variable of ours that is no setting, or whose value is none.
    """
    values: dict[str, Any] = {}
    for key, text in environ.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix).lower()
        if name not in kinds:
            known = ", ".join(prefix + known.upper() for known in kinds)
            raise InvalidError(f"{key} is no setting; known are {known}", field=key)
        values[name] = _parsed(key, text, kinds[name])
    return values


def _parsed(key: str, text: str, kind: Kind) -> Any:
    if kind is bool:
        if text not in {"0", "1"}:
            raise InvalidError(f"{key}: 0 or 1 is wanted, not '{text}'", field=key)
        return text == "1"
    try:
        return kind(text)
    except ValueError as error:
        why = f"'{text}' is no {kind.__name__}" if isinstance(kind, type) else str(error)
        raise InvalidError(f"{key}: {why}", field=key) from error


def add_options(
    parser: argparse.ArgumentParser, options: Iterable[tuple[str, type, str, str]]
) -> None:
    """Add options.

    Args:
        parser: that gets them.
        options: field, kind, metavariable and meaning of each.
    """
    for name, kind, metavar, meaning in options:
        if kind is bool:
            parser.add_argument(option_of(name), action="store_true", default=None, help=meaning)
        else:
            parser.add_argument(option_of(name), type=kind, metavar=metavar, help=meaning)


def option_of(name: str) -> str:
    """`--admin-port` of `admin_port`."""
    return "--" + name.replace("_", "-")


def arguments_of(given: Mapping[str, Any]) -> list[str]:
    """The options that say `given`, by field; what is None or False is left out."""
    told: list[str] = []
    for name, value in given.items():
        if value is True:
            told.append(option_of(name))
        elif value is not None and value is not False:
            told += [option_of(name), str(value)]
    return told


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Hold numbers to their lowest and highest.

    Raises:
        InvalidError: one is outside; `field` names it.
    """
    for name, (lowest, highest) in ranges.items():
        value = getattr(settings, name)
        if not lowest <= value <= highest:
            raise InvalidError(f"{name}: {value} is not from {lowest} to {highest}", field=name)


def check_secured(settings: Secured) -> None:
    """Refuse what cannot be meant of TLS and of the access log.

    Raises:
        InvalidError: `field` names the setting.
    """
    for name in ("tls_key", "client_ca"):
        if getattr(settings, name) and not settings.tls_cert:
            raise InvalidError(f"{name} goes with tls_cert", field=name)
    if settings.access_log_format not in list(Form):
        raise InvalidError(
            f"access_log_format: '{settings.access_log_format}' is none of {', '.join(Form)}",
            field="access_log_format",
        )


def tls_of(settings: Secured) -> TlsFiles | None:
    """The files of TLS; None for plain HTTP."""
    if not settings.tls_cert:
        return None
    certificate = Path(settings.tls_cert)
    key = Path(settings.tls_key) if settings.tls_key else certificate
    return TlsFiles(certificate, key, Path(settings.client_ca) if settings.client_ca else None)
