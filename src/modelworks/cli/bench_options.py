"""The options of `modelworks bench`, checked and turned into what `measure` takes."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from modelworks.cli.context import json_option
from modelworks.core.errors import InvalidError, NotFoundError

F = TypeVar("F", bound=Callable[..., Any])
_LARGEST: Final = 256 * 1024 * 1024


class Numbers(click.ParamType[list[float] | list[int] | str]):
    """Numbers with commas between them.

    Args:
        whole: whole ones only.
        word: what may stand there instead.
        zero: whether 0 is one of them.
    """

    name = "numbers"

    def __init__(self, *, whole: bool, word: str = "", zero: bool = False) -> None:
        self._whole = whole
        self._word = word
        self._zero = zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float] | list[int] | str:
        """Click's own name for it."""
        if not isinstance(value, str) or (self._word and value == self._word):
            return cast("str", value)
        try:
            kind = int if self._whole else float
            found = [kind(part) for part in value.split(",")]
        except ValueError:
            other = f", or {self._word}" if self._word else ""
            return self.fail(f"{value!r}: numbers with commas between them{other}", param, ctx)
        if not all(0 < number < 1e9 or (self._zero and number == 0) for number in found):
            return self.fail(f"{value!r}: numbers above 0", param, ctx)
        return found


_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_OPTIONS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--url",), {"default": "", "help": "Of the model server (default MODELWORKS_SERVER)."}),
    (("--against",), {"default": "", "metavar": "TARGET", "help": "Compare with that endpoint."}),
    (("--rounds",), {"default": 7, "type": click.IntRange(1, 1000), "help": "With --against."}),
    (
        ("--bar",),
        {"type": float, "help": "Ratio to reach with --against: exit 9 if not, 6 if unclear."},
    ),
    (
        ("-c", "--connections"),
        {
            "type": Numbers(whole=True),
            "metavar": "N[,N]...",
            "help": "Closed loop: a sweep over these (default 1,8,64). With --rate: the most.",
        },
    ),
    (
        ("-r", "--rate"),
        {
            "type": Numbers(whole=False, word="auto"),
            "metavar": "N[,N]...|auto",
            "help": "Open loop: requests a second, whatever the server does.",
        },
    ),
    (
        ("--arrivals",),
        {
            "default": "constant",
            "type": click.Choice(["constant", "poisson"]),
            "help": "Of an open loop.",
        },
    ),
    (("-s", "--seconds"), {"default": 5.0, "type": float, "help": "Measured, each point."}),
    (("--warm",), {"default": 1.0, "type": float, "help": "Seconds of load before that."}),
    (("--requests",), {"type": click.IntRange(1), "help": "At most so many, each point."}),
    (("--timeout",), {"default": 30.0, "type": float, "help": "Seconds for an answer."}),
    (("--deadline",), {"default": 0.0, "type": float, "help": "Goodput within so many ms."}),
    (
        ("--batch",),
        {"default": 1, "type": click.IntRange(1, 100_000), "help": "Rows a request."},
    ),
    (("--binary",), {"is_flag": True, "help": "Raw tensors on the wire instead of JSON."}),
    (
        ("--rows",),
        {"default": "", "metavar": "JSON|@FILE|-", "help": "Plain rows instead of made-up ones."},
    ),
    (
        ("--body",),
        {"multiple": True, "type": _FILE, "help": "A request's body as it is; may be repeated."},
    ),
    (("--content-type",), {"default": "", "help": "Of --body."}),
    (
        ("-H", "--header"),
        {"multiple": True, "metavar": "'NAME: VALUE'", "help": "Sent along; may be repeated."},
    ),
    (("--check",), {"is_flag": True, "help": "Compare sampled answers with the first ones."}),
    (
        ("--generator",),
        {
            "default": "own",
            "type": click.Choice(["own", "wrk", "auto"]),
            "help": "auto = wrk where it is installed and can do it.",
        },
    ),
    (
        ("--processes",),
        {"default": 1, "type": click.IntRange(1, 64), "help": "Of the own generator."},
    ),
    (
        ("--pin",),
        {
            "type": Numbers(whole=True, zero=True),
            "metavar": "CORE[,CORE]...",
            "help": "Cores of the generator.",
        },
    ),
    (("--pid",), {"multiple": True, "type": click.IntRange(1), "help": "Of the server, for CPU."}),
    (("--ca",), {"default": "", "help": "Authorities of an https server (MODELWORKS_CA)."}),
    (("--client-cert",), {"default": "", "help": "To show it (MODELWORKS_CLIENT_CERT)."}),
    (("--client-key",), {"default": "", "help": "Of --client-cert (MODELWORKS_CLIENT_KEY)."}),
    (("--insecure",), {"is_flag": True, "help": "Take any certificate."}),
    (("--html",), {"type": _FILE, "help": "Write a page with the plots."}),
    (("--png",), {"type": _FILE, "help": "Write the plots (needs matplotlib)."}),
    (("--seed",), {"default": 7, "type": int, "help": "Of made-up rows, arrivals and order."}),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said, by the options' names; see `modelworks bench --help`."""

    url: str
    against: str
    rounds: int
    bar: float | None
    connections: list[int] | None
    rate: list[float] | str | None
    arrivals: str
    seconds: float
    warm: float
    requests: int | None
    timeout: float
    deadline: float
    batch: int
    binary: bool
    rows: str
    body: tuple[Path, ...]
    content_type: str
    header: tuple[str, ...]
    check: bool
    generator: str
    processes: int
    pin: list[int] | None
    pid: tuple[int, ...]
    ca: str
    client_cert: str
    client_key: str
    insecure: bool
    html: Path | None
    png: Path | None
    seed: int
    as_json: bool

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        wrong = (
            (self.rows and self.body, "give --rows or --body, one of them"),
            (self.bar is not None and not self.against, "--bar goes with --against"),
            (self.bar is not None and self.bar <= 0, "--bar: a ratio above 0"),
            (self.content_type and not self.body, "--content-type goes with --body"),
            (self.binary and (self.rows or self.body), "--binary is for made-up rows"),
            (
                self.against and any(len(some) > 1 for some in self._listed()),
                "--against compares at one number of connections, or at one rate",
            ),
            (self.against and self.rate == "auto", "--against: give the rate"),
            (self.rate and len(self.connections or ()) > 1, "--rate: one number of connections"),
            (
                self.generator == "wrk" and self.processes > 1,
                "--processes are the own generator's: not with --generator wrk",
            ),
        )
        for is_wrong, words in wrong:
            if is_wrong:
                raise click.UsageError(words)

    def _listed(self) -> list[list[Any]]:
        return [value for value in (self.connections, self.rate) if isinstance(value, list)]


def bench_options(command: F) -> F:
    """Add every option; the command gets them as one `Options`."""

    def gathered(target: str, **given: Any) -> Any:
        return command(target, Options(**given))

    gathered.__doc__, gathered.__name__ = command.__doc__, command.__name__
    found: Any = json_option(gathered)
    for names, told in reversed(_OPTIONS):
        shown = {"show_default": True} if told.get("default") else {}
        found = click.option(*names, **{**shown, **told})(found)
    return cast("F", found)


def headers_of(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Headers as curl writes them.

    Raises:
        InvalidError: no colon.
    """
    found = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise InvalidError(f"'{text}' is no header: write 'NAME: VALUE'", field="header")
        found.append((name.strip(), value.strip()))
    return tuple(found)


def contents_of(paths: tuple[Path, ...]) -> tuple[bytes, ...]:
    """The files' bytes.

    Raises:
        NotFoundError: no such file.
        InvalidError: it cannot be read, or is too large.
    """
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError as error:
            raise NotFoundError(f"no file {path}", field="body") from error
        except OSError as error:
            raise InvalidError(f"{path} cannot be read: {error.strerror}", field="body") from error
        if len(data) > _LARGEST:
            raise InvalidError(f"{path} is over 256 MB", field="body")
        found.append(data)
    return tuple(found)


def writable(path: Path | None, field: str) -> None:
    """Whether a file can be written there: asked before minutes of load.

    Raises:
        InvalidError: it cannot.
    """
    if path is not None and not (
        path.parent.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)
    ):
        raise InvalidError(f"{path} cannot be written: no such folder, or not ours", field=field)


def write_text(path: Path, text: str, field: str) -> None:
    """Write a file whole.

    Raises:
        InvalidError: it cannot be written.
    """
    try:
        path.write_text(text)
    except OSError as error:
        raise InvalidError(f"{path} cannot be written: {error.strerror}", field=field) from error
