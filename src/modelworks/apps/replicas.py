"""Supervisor of a deployment's replicas on this machine: `python -m modelworks.apps.replicas`.

The target `local` starts it, one a deployment; it goes on when who started it ends. Killed, it
leaves its replicas running, and the next one takes them over.

Exit codes: 0 drained, or another one runs already; 2 wrong use, 4 the folder cannot be used.
"""

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelworks.apps.replica_supervisor import Replicas, make_sockets
from modelworks.core.ecs import set_up_logs
from modelworks.core.errors import ModelworksError
from modelworks.core.local_folder import Layout

_log = logging.getLogger("modelworks.replicas")
_TRIES: Final = 20
_PAUSE_S: Final = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m modelworks.apps.replicas", description=__doc__)
    parser.add_argument("--folder", required=True, type=Path, help="of the deployment")
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    told = parser.parse_args(arguments)
    if told.detach and os.fork():
        return 0
    form = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"
    set_up_logs("modelworks-replicas", os.environ, form)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        layout = Layout(told.folder.absolute())
        with layout.lock.open("ab") as lock:
            if not _locked(lock.fileno()):
                _log.info("another supervisor runs already")
                return 0
            lock.truncate(0)
            lock.write(b"%d" % os.getpid())
            lock.flush()
            make_sockets(layout)
            Replicas(layout, over).run()
    except (ModelworksError, OSError) as error:
        _log.error("%s", error)
        return 4
    return 0


def _locked(handle: int) -> bool:
    """Who only looks whether somebody holds the lock holds it for a moment: that is waited for."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
