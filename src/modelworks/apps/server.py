"""Composition root of the model server: `python -m modelworks.apps.server --served LIST.json`.

Exit codes: 0 drained, 2 wrong use, 4 the list or the model cannot be served, 6 the port is taken.
"""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from modelworks.apps.server_calibrate import calibrate
from modelworks.apps.server_kept import ONE_PROCESS, keeps_sequences
from modelworks.apps.server_settings import AUTO, ServerSettings
from modelworks.core.ecs import set_up_logs
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError
from modelworks.serving.sizing import as_set

_log = logging.getLogger("modelworks.server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; the exit code."""
    form = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"
    set_up_logs("modelworks-server", os.environ, form)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        settings = ServerSettings.read(given, os.environ)
    except InvalidError as error:
        _log.error("%s", error.message)
        return 2
    try:
        sizing = as_set(settings.workers, settings.threads or 1)
        if settings.workers == AUTO and keeps_sequences(settings):
            sizing = replace(as_set(1, settings.threads or 1), reason=ONE_PROCESS)
        elif settings.workers == AUTO:
            sizing = calibrate(settings)
        settings = replace(settings, workers=sizing.workers, threads=sizing.threads)
        if settings.worker or settings.workers == 1:
            from modelworks.apps.server_run import serve  # noqa: PLC0415 - a supervisor loads no numpy

            return serve(settings, sizing)
        from modelworks.apps.server_supervise import supervise  # noqa: PLC0415 - the same

        return supervise(settings, given, sizing)
    except ConflictError as error:
        _log.error("%s", error.message)
        return 6
    except ModelworksError as error:
        _log.error("%s", error.message)
        return 4


def end(code: int) -> NoReturn:
    """End the process with `code`, and with threads that an engine has not come back to.

    Python would stop such a thread inside the engine's own code as it ends, which aborts the
    process: a drain would look like a crash.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    end(main())
