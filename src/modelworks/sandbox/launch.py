"""Starts a process of ours that listens to a socket, and has it watched."""

import os
import socket
from collections.abc import Callable

from modelworks.sandbox import spawn
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.scratch import Scratch
from modelworks.sandbox.start import How
from modelworks.sandbox.vigil import Vigil, Watched


def launched(
    launch: How,
    module: str,
    theirs: socket.socket,
    limits: Limits,
    threads: int,
    ended: Callable[[str], None],
) -> Vigil:
    """`python -m MODULE HANDLE OUR-ID`; nothing is left of it where it cannot be started.

    Args:
        launch: by which Python.
        module: that is run.
        theirs: its end of the socket; the caller closes ours of it.
        limits: that its watch holds it to.
        threads: that numeric libraries may start.
        ended: told why it ended.
    """
    scratch = Scratch()
    read, write = os.pipe()
    try:
        handle = theirs.fileno()
        process = spawn.start(
            spawn.Start(
                [*launch.command, "-m", module, str(handle), str(os.getpid())],
                (handle,),
                launch.environment(threads),
                write,
            )
        )
    except BaseException:
        os.close(read)
        scratch.remove()
        raise
    finally:
        os.close(write)
    return Vigil(Watched(process, read, scratch.work, limits), scratch.remove, ended)
