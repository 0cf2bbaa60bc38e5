"""Composition root of the gateway: `python -m modelworks.apps.gateway --snapshot FILE|URL`.

Exit codes: 0 drained, 2 wrong use, 4 the routes or a file cannot be used, 6 the port is taken.
"""

import logging
import os
import sys
from collections.abc import Sequence

from modelworks.apps.gateway_settings import GatewaySettings
from modelworks.core.ecs import set_up_logs
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError

_log = logging.getLogger("modelworks.gateway")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; the exit code."""
    form = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"
    set_up_logs("modelworks-gateway", os.environ, form)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        settings = GatewaySettings.read(given, os.environ)
    except InvalidError as error:
        _log.error("%s", error.message)
        return 2
    try:
        if settings.worker or settings.workers == 1:
            from modelworks.apps.gateway_run import serve  # noqa: PLC0415 - not for a supervisor

            return serve(settings)
        from modelworks.apps.gateway_supervise import supervise  # noqa: PLC0415 - the same

        return supervise(settings, given)
    except ConflictError as error:
        _log.error("%s", error.message)
        return 6
    except ModelworksError as error:
        where = f" ({error.field})" if error.field else ""
        _log.error("%s%s", error.message, where)
        return 4


if __name__ == "__main__":
    sys.exit(main())
