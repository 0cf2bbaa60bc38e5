"""The options `--workers` and `--threads` of the commands that serve."""

from typing import Any, Final

import click

_MOST: Final = 256


class _Workers(click.ParamType[str]):
    """A number from 1, or `auto`; a text, as the server takes it."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType.convert`."""
        text = str(value)
        if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= _MOST):
            self.fail(f"{text!r} is neither auto nor a number from 1 to {_MOST}", param, ctx)
        return text


WORKERS: Final = _Workers()
WORKERS_HELP: Final = "Processes on the port; auto = as a short calibration here finds best."
THREADS_HELP: Final = "Of the engine, a model and worker; auto = 1, or as --workers auto finds."
