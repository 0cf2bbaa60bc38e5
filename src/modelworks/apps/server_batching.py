"""Settings of batching as options of the model server's command line, and back."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from modelworks.apps.options import option_of
from modelworks.core.served import Batching

HELP: Final = {
    "max_batch_size": "Items in one engine call",
    "max_queue_size": "Items waiting at most; more are answered 503",
    "max_delay_ms": "How long an idle engine waits for company; 0 = it never does",
    "priority_levels": "Requests may say priority 1 (first) to this",
    "timeout_ms": "Of requests that bring none; 0 = none",
    "latency_goal_ms": "Learn size and delay so that 99 of 100 answers come within it; 0 = no",
}
"""What the options mean, by field of `Batching`."""


def defaults() -> Iterator[tuple[str, float]]:
    """Name and default of each field of `Batching`."""
    base = Batching()
    for field in fields(Batching):
        yield field.name, getattr(base, field.name)


def add_batching_options(parser: argparse.ArgumentParser) -> None:
    """`--max-batch-size` and the others; for the model of `--file`, or all of a list."""
    for name, value in defaults():
        kind = type(value)
        parser.add_argument(option_of(name), type=kind, help=f"{HELP[name]} ({value:g})")


def arguments_of(batching: Batching) -> list[str]:
    """The options that say `batching`; defaults are left out."""
    told = []
    for name, value in defaults():
        chosen = getattr(batching, name)
        if chosen != value:
            told += [option_of(name), str(chosen)]
    return told


def said_of_batching(settings: object) -> Mapping[str, Any]:
    """What settings say of batching, by field; what they do not say is as it is anyway.

    Args:
        settings: with an attribute a field of `Batching`; None = nothing was said.

    Raises:
        InvalidError: an impossible value; `field` names it.
    """
    every = {name: getattr(settings, name) for name, _ in defaults()}
    said = {name: value for name, value in every.items() if value is not None}
    Batching(**said).check()
    return said
