"""Server-sent events, as the HTML standard writes them: data only, one line of JSON an event."""

from typing import Final

SSE: Final = b"text/event-stream; charset=utf-8"
HEADERS: Final = ((b"Cache-Control", b"no-cache"), (b"X-Accel-Buffering", b"no"))
"""Of a stream of events: nobody on the way shall keep them, or keep them back (nginx reads the
second)."""


def event(data: bytes) -> bytes:
    """One event.

    Args:
        data: without a line break: JSON has none.
    """
    return b"data: %b\n\n" % data
