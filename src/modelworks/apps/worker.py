"""Composition root of the watch's worker: `python -m modelworks.apps.worker --home FOLDER`."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modelworks.apps.stores import stores_of
from modelworks.control.front.gateways import addresses
from modelworks.control.service import Factory
from modelworks.core.errors import ModelworksError
from modelworks.core.home import Home

_NICE = 10  # requests go first
_PARENT_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until SIGTERM or SIGINT; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(prog="modelworks.apps.worker", allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="end when it ends")
    parser.add_argument("--window", type=int, default=3600, metavar="S", help="of drift, seconds")
    parser.add_argument("--database", default="", help="URL (MODELWORKS_DATABASE)")
    parser.add_argument("--gateways", default="", help="admin addresses of those elsewhere")
    given = parser.parse_args(arguments)
    if not 60 <= given.window <= 3600 or 3600 % given.window:
        parser.error(f"--window {given.window}: from 60 to 3600, so that an hour is whole ones")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with suppress(OSError):
        os.nice(_NICE)
    try:
        stores = stores_of(os.environ, given.database)
        with Factory(Home(given.home), stores=stores) as factory:
            parts = replace(factory.watched, gateways=addresses(given.gateways))
            runner = factory.watching.runner(parts, given.window)
            runner.start()
            while not stopping.wait(_PARENT_S):
                if given.parent and os.getppid() != given.parent:
                    break
            runner.close()
    except ModelworksError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
