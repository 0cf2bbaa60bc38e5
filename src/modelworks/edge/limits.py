"""Bounds of the HTTP edge: every size, count and wait that a client could stretch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener grants a client; sizes in bytes, times in seconds.

    Attributes:
        max_header_bytes: request line and headers together; beyond it 431.
        max_headers: header lines; beyond it 431.
        max_target_bytes: the request target; beyond it 414.
        max_body_bytes: a body as it is on the wire; beyond it 413.
        max_inflated_bytes: a gzip or deflate body after decoding; beyond it 413.
        max_buffered_bytes: unfinished bodies of all connections together; beyond it 503.
        header_timeout_s: from the first byte of a request to the end of its headers; then 408.
        body_timeout_s: for a body of no size; `min_body_rate` adds to it. Then 408.
        min_body_rate: bytes a second; a body earns one second for each so many bytes received.
        idle_timeout_s: an unused connection is closed after it.
        write_timeout_s: a client that takes no byte of its answers for so long is cut off.
        linger_s: how long a connection that we ended is still read, so that the client sees its
            last answer instead of a reset.
        drain_linger_s: while draining, how long a connection stays silent before it is closed.
        max_connections: beyond it a new connection is answered 503 and closed.
        max_pipelined: requests of one connection without an answer; beyond it reading stops.
        max_streams: requests of one connection of HTTP/2 that are open at once; a further one is
            refused, and may be sent again.
        write_high_water: unsent answer bytes of one connection; beyond it reading stops.
    """

    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_target_bytes: int = 8 * 1024
    max_body_bytes: int = 64 * 1024 * 1024
    max_inflated_bytes: int = 16 * 1024 * 1024
    max_buffered_bytes: int = 1024 * 1024 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    min_body_rate: int = 16 * 1024
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 60.0
    linger_s: float = 2.0
    drain_linger_s: float = 0.25
    max_connections: int = 4096
    max_pipelined: int = 64
    max_streams: int = 256
    write_high_water: int = 1024 * 1024
