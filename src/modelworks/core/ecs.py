"""Log lines in the Elastic Common Schema: one JSON document a line (ECS 8.11, ecs-logging 1).

https://www.elastic.co/guide/en/ecs/8.11/ecs-field-reference.html
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import version
from typing import Any, Final

from modelworks.core.errors import InvalidError

VERSION: Final = "8.11.0"
VARIABLE: Final = "MODELWORKS_LOG_FORMAT"
_LEVELS: Final = {"WARNING": "warning", "CRITICAL": "critical", "ERROR": "error", "INFO": "info"}


class LogFormat(StrEnum):
    """How our processes write their logs."""

    TEXT = "text"
    ECS = "ecs"


def log_format(environ: Mapping[str, str]) -> LogFormat:
    """What `MODELWORKS_LOG_FORMAT` asks for; `json` is another name of `ecs`.

    Raises:
        InvalidError: something else.
    """
    told = environ.get(VARIABLE, "") or LogFormat.TEXT
    told = LogFormat.ECS if told == "json" else told
    if told not in list(LogFormat):
        raise InvalidError(
            f"{VARIABLE}: '{told[:40]}' is none of {', '.join(LogFormat)}", field=VARIABLE
        )
    return LogFormat(told)


def stamp(seconds: float) -> str:
    """`2026-11-22T10:00:00.123Z`."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


class EcsFormatter(logging.Formatter):
    """Writes records of one process.

    Args:
        service: `modelworks-server`.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._fixed = {
            "ecs.version": VERSION,
            "service.name": service,
            "service.version": version("modelworks"),
            "event.dataset": f"{service}.log",
        }

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        level = _LEVELS.get(record.levelname, record.levelname.lower())
        told: dict[str, Any] = {
            "@timestamp": stamp(record.created),
            "log.level": level,
            "message": record.getMessage(),
            **self._fixed,
            "log.logger": record.name,
            "process.pid": record.process,
            "process.thread.name": record.threadName,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            told["error.type"] = kind.__name__
            told["error.message"] = str(error)
            told["error.stack_trace"] = "".join(traceback.format_exception(kind, error, trace))
        return json.dumps(told, ensure_ascii=False, default=str)


def set_up_logs(
    service: str, environ: Mapping[str, str], text: str, level: int = logging.INFO
) -> None:
    """Send all logs of this process to stderr, once, in the form that the environment asks for.

    Args:
        service: `modelworks-server`.
        environ: of the process; a form that there is not is told in the log, and text is written.
        text: format of the lines where it asks for text, as `logging` has it.
        level: below which nothing is written.
    """
    problem = ""
    try:
        form = log_format(environ)
    except InvalidError as error:
        form, problem = LogFormat.TEXT, error.message
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        EcsFormatter(service) if form is LogFormat.ECS else logging.Formatter(text)
    )
    logging.basicConfig(level=level, handlers=[handler])
    if problem:
        logging.getLogger(__name__).warning("%s; lines of text are written", problem)
