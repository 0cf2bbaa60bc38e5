"""Composition root of the logger: `python -m modelworks.apps.logger --folder RECORDS --door FD`.

Started by a model server, one for all of its workers. It ends by itself when the last of them has
gone and everything they sent is written: signals that end the server do not end it.

Exit codes: 0 all is written, 2 wrong use, 4 the folder cannot be used.
"""

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from modelworks.apps.logger_loop import SEGMENTS, LoggerLoop
from modelworks.core.errors import ModelworksError
from modelworks.edge.key_ring import KeyRing
from modelworks.protocol.records.fields import hash_key
from modelworks.protocol.records.segments import SegmentWriter, recover

_log = logging.getLogger("modelworks.logger")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write records until nobody sends any; the exit code."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(process)d %(name)s %(message)s", level=logging.INFO
    )
    parser = argparse.ArgumentParser(prog="python -m modelworks.apps.logger", allow_abbrev=False)
    parser.add_argument("--folder", required=True, metavar="RECORDS", help="of the records")
    parser.add_argument("--door", required=True, type=int, metavar="FD", help="an open socket")
    parser.add_argument("--keys", metavar="FILE", help="API keys, for the names of callers")
    parser.add_argument("--segment-seconds", type=float, metavar="S", help="a segment's age")
    parser.add_argument("--urgent", action="store_true", help="as urgent as the server")
    given = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not given.urgent:
        _yield_to_all()
    folder = Path(given.folder)
    try:
        door = socket.socket(fileno=given.door)
    except OSError as error:
        parser.error(f"--door {given.door} is no socket: {error.strerror}")
    try:
        segments = folder / SEGMENTS
        for path in recover(segments):
            _log.info("%s was left behind, and is closed", path.name)
        key = hash_key(folder)
        ring = KeyRing(Path(given.keys)) if given.keys else None
        if ring is not None:
            ring.start()
        ages = {} if given.segment_seconds is None else {"segment_s": given.segment_seconds}
        writer = SegmentWriter(segments, **ages)
        LoggerLoop(door, folder, writer, key, ring.name_of if ring is not None else None).run()
        writer.close()
    except OSError as error:
        _log.error("%s cannot be used: %s", folder, error.strerror or error)
        return 4
    except ModelworksError as error:
        _log.error("%s", error.message)
        return 4
    return 0


def _yield_to_all() -> None:
    """Run only where nothing else wants to: records may wait, and be lost; requests may not.

    A logger as urgent as the server made the p99 seven times as long where they shared a core.
    """
    with contextlib.suppress(OSError):  # some sandboxes refuse the call; all works without it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    sys.exit(main())
