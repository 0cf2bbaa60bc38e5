"""Turns the exceptions of foreign libraries into one short line for a user."""

import errno

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def reason(error: BaseException, limit: int = 200) -> str:
    """What a library complained of: its first meaningful words, one line, at most `limit` long.

    A converter's message may carry megabytes of the model that it could not convert.
    """
    text = " ".join(str(error)[: limit * 20].split()) or "no reason given"
    text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def disk_is_full(error: BaseException) -> bool:
    """Whether writing failed, and not the reading of a damaged file."""
    return isinstance(error, OSError) and error.errno in _FULL
