"""The time that a header block may take is that of all of it, whatever its frames look like."""

import pytest

from http2_served import FEW
from http2_unread import unsocketed
from http2_wire import CONTINUATION, GET, HEADERS, OPEN, block, frame

pytestmark = pytest.mark.unit


def test_a_block_whose_frames_overlap_gets_no_more_time():
    piece = frame(CONTINUATION, 0, 1, block(GET)[:1])
    with unsocketed() as it:
        it.connection.data_received(OPEN + frame(HEADERS, 1, 1, b"") + piece[:1])
        for _ in range(3):  # each time the rest of a frame, and the first byte of the next one
            it.transport.read()
            it.connection.tick()
            assert not it.transport.closed
            it.hub.now += 0.4 * FEW.header_timeout_s
            it.connection.data_received(piece[1:] + piece[:1])
        it.transport.read()
        it.connection.tick()
        assert it.transport.closed
        assert b"a frame came too slowly" in it.transport.written
