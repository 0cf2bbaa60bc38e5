"""A client that asks much and reads nothing: what waits for it is bounded within a turn too."""

import pytest

from http2_unread import unsocketed
from http2_wire import CALL, WIDE, data, headers, message

pytestmark = pytest.mark.unit
ANSWER = bytes(100_000)
QUESTIONS = 200
BOUND = 1 << 20  # of the service's own


def test_it_is_held_back_though_its_windows_are_wide():
    asked = []

    def answer(call, question):
        asked.append(question)
        call.send(ANSWER)
        if call.waiting > BOUND:
            call.hold()

    def begin(call):
        call.on_message = answer
        call.on_half_closed = lambda call: call.finish(0)
        call.on_drained = call.go_on

    with unsocketed(begin) as it:
        transport = it.transport
        it.connection.data_received(
            WIDE + headers(CALL, last=False) + data(message(b"?") * QUESTIONS)
        )
        assert len(asked) < QUESTIONS // 4
        assert not transport.reading
        for _ in range(20 * QUESTIONS):
            if len(transport.written) > QUESTIONS * len(ANSWER):
                break
            transport.read()
            it.turn()
            assert transport.reading == (transport.held <= transport.room)
        assert len(asked) == QUESTIONS
        assert transport.most < 6 * BOUND
        assert len(transport.written) > QUESTIONS * len(ANSWER)
