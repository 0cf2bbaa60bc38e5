"""What crosses the pipe between a job and its parent: frames, and errors as plain values.

A frame is four bytes of length (big endian) and that many bytes of JSON. Nothing a job sends is
trusted: lengths are bounded, errors are rebuilt from a fixed list of classes.
"""

import errno
import json
import os
import re
from typing import Any

from modelworks.core import errors
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    MissingExtraError,
    ModelworksError,
    RefusedError,
    UnavailableError,
)

MESSAGE_LIMIT = 500
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]+")
_CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, ModelworksError)
}


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text as one printable line of at most `limit` characters; converters may say megabytes.

    File names are the sender's choice and may carry escape sequences for the reader's terminal.
    """
    head = _BLANK.sub(" ", text[: limit * 4]).strip()
    head = "".join(each if each.isprintable() else "?" for each in head)
    return head if len(head) <= limit and len(text) <= limit * 4 else head[: limit - 3] + "..."


def send(fd: int, frame: dict[str, Any]) -> None:
    """Write one frame, whole."""
    data = json.dumps(frame).encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(fd, data) :]


class Frames:
    """Reassembles frames from what a pipe gives.

    Args:
        limit: of one frame's bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The frames that are complete now.

        Raises:
            CrashedError: a frame over the limit, or no JSON object.
        """
        self._buffer += data
        frames = []
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > self._limit:
                raise CrashedError(f"the job's answer of {length} bytes is over its limit")
            if len(self._buffer) < 4 + length:
                break
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            try:
                frame = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise CrashedError("the job's answer is no JSON") from error
            if not isinstance(frame, dict):
                raise CrashedError("the job's answer is no JSON object")
            frames.append(frame)
        return frames


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as plain values: class of `core.errors`, one-line message, field."""
    known = _translate(error)
    data: dict[str, Any] = {
        "class": type(known).__name__,
        "message": one_line(known.message),
        "field": known.field,
    }
    if isinstance(known, MissingExtraError):
        data |= {"extra": known.extra, "missing": known.missing}
    return data


def _translate(error: BaseException) -> ModelworksError:
    if isinstance(error, ModelworksError):
        return error
    if isinstance(error, MemoryError):
        return RefusedError(
            "the job needs more memory than the sandbox allows; MODELWORKS_IMPORT_MEMORY raises "
            "the limit"
        )
    if isinstance(error, RecursionError):
        return InvalidError("the file is nested too deeply")
    if isinstance(error, OSError):
        return _from_os(error)
    text = f"{type(error).__name__}: {error}"
    return CrashedError(f"the job failed: {one_line(text, MESSAGE_LIMIT - 20)}")


def out_of_space(error: OSError) -> bool:
    """Whether the disk is full; `tempfile` then says that it finds no folder to write to."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT} or (
        error.errno == errno.ENOENT and "No usable temporary directory" in str(error)
    )


def _from_os(error: OSError) -> ModelworksError:
    if error.errno == errno.EFBIG:
        return RefusedError(
            "the job writes a file that is longer than the sandbox allows; "
            "raise the file size limit"
        )
    if out_of_space(error):
        return UnavailableError(
            "no space left on the disk that holds the work folder; free some and try again"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return RefusedError(f"the job tried what the sandbox forbids: {one_line(str(error), 300)}")
    return CrashedError(f"the job failed: {one_line(str(error), MESSAGE_LIMIT - 20)}")


def rebuild(data: dict[str, Any]) -> ModelworksError:
    """The exception that `describe` described; an unknown class is a `CrashedError`."""
    message = one_line(str(data.get("message", "")))
    field = data.get("field")
    field = one_line(field, 200) if isinstance(field, str) else None
    kind = _CLASSES.get(str(data.get("class")), CrashedError)
    if issubclass(kind, MissingExtraError):
        extra = kind.__new__(kind)
        ModelworksError.__init__(extra, message, field=field)
        extra.extra, extra.missing = str(data.get("extra", "")), str(data.get("missing", ""))
        return extra
    return kind(message, field=field)
