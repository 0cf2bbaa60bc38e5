"""The parts of a generation by themselves: pieces on their way, a histogram's cell, admission."""

import asyncio
import threading
from time import perf_counter_ns

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, InvalidError, LimitedError
from modelworks.core.generation import Finish, Piece, Prompt, Sampling
from modelworks.core.served import Batching
from modelworks.protocol.openmetrics import write_text
from modelworks.serving.block import Block
from modelworks.serving.generating import Generation, Generations, Times
from modelworks.serving.generating import handover as handover_module
from modelworks.serving.generating.handover import Handover
from modelworks.serving.generating.numbers import End, families, read_generated
from modelworks.serving.generating.trying import try_generating
from modelworks.serving.histograms import place_of, places_of
from modelworks.serving.statistics import Recorder
from modelworks.testing.generating import Words

pytestmark = pytest.mark.unit


class Reader:
    """Keeps what it is told."""

    def __init__(self):
        self.pieces, self.error = [], None
        self.over = asyncio.Event()

    def took(self, pieces):
        self.pieces += pieces
        if pieces[-1].finish is not None:
            self.over.set()

    def failed(self, error):
        self.error = error
        self.over.set()


def run(main):
    async def whole():
        session = Words()
        block = Block()
        recorder = Recorder.of_model(block, "m", "1")
        generations = Generations("m 1", session, recorder, Batching())
        try:
            await main(generations, block)
        finally:
            await generations.drain(0.0)
            session.close()
        assert not generations

    asyncio.run(asyncio.wait_for(whole(), 60))


def begin(generations, text="one two", admit=None, **sampling):
    reader = Reader()
    made = Generation(
        *(generations, Prompt(text), Sampling(**sampling), reader),
        *(Times(perf_counter_ns()), admit),
    )
    made.begin()
    return made, reader


def test_one_cell_is_where_many_find_it():
    rng = np.random.default_rng(3)
    edges = [n for bits in range(36) for n in (2**bits - 1, 2**bits, 2**bits + 1, 3 << bits)]
    numbers = [*edges, *rng.integers(0, 1 << 36, 2000).tolist()]
    assert [place_of(n) for n in numbers] == places_of(np.array(numbers)).tolist()


def test_pieces_of_many_come_together_and_in_order():
    class Taker:
        def __init__(self):
            self.took = []

        def take(self, pieces, came_ns):
            assert len(pieces) == len(came_ns)
            self.took.append([piece.text for piece in pieces])

    async def main():
        loop = asyncio.get_running_loop()
        handover = Handover(loop)
        takers = [Taker() for _ in range(7)]

        def tell():
            for place in range(1000):
                handover.tell(takers[place % 7], Piece(str(place)))

        wakes = []
        loop.call_soon_threadsafe, real = (
            lambda call: (wakes.append(1), real(call)),
            loop.call_soon_threadsafe,
        )
        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()  # the loop is blocked meanwhile: everything waits for one waking
        while sum(len(some) for taker in takers for some in taker.took) < 1000:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for place, taker in enumerate(takers):
            told = [text for some in taker.took for text in some]
            assert told == [str(n) for n in range(place, 1000, 7)]
        assert len(wakes) == 1

    asyncio.run(asyncio.wait_for(main(), 60))


def test_an_engine_that_is_faster_than_the_loop_is_slowed_down(monkeypatch):
    """The loop takes nothing; a piece beyond the bound costs the engine a pause, which counts."""
    pauses = []
    monkeypatch.setattr(handover_module, "sleep", pauses.append)
    loop = asyncio.new_event_loop()
    handover = Handover(loop)
    for _ in range(handover_module.FULL + 5):
        handover.tell(None, Piece("x"))
    loop.close()
    assert len(pauses) == 5


def test_a_closed_loop_is_not_told():
    loop = asyncio.new_event_loop()
    handover = Handover(loop)
    loop.close()
    handover.tell(None, Piece("x"))


@pytest.mark.parametrize("text", ["one two", "word " * 1000])
def test_admission_counts_and_gives_back(text):
    async def main(generations, block):
        asked, given_back = [], []

        def admit(tokens, most):
            asked.append((tokens, most))
            return lambda: given_back.append(tokens)

        _, reader = begin(generations, text, admit, max_tokens=3)
        await reader.over.wait()
        tokens = len(text.split())
        assert asked == [(tokens, 3)]
        assert given_back == [tokens]
        stopped, _ = begin(generations, text, admit, max_tokens=100_000)
        while len(asked) < 2:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        stopped.stop()
        while len(given_back) < 2:  # noqa: ASYNC110 - the engine tells when it is done
            await asyncio.sleep(0.001)

    run(main)


def test_a_count_that_its_process_is_asked_for_does_not_hold_the_loop_up():
    async def main(generations, block):
        go, asked = threading.Event(), []

        def admit(tokens, most):
            asked.append(tokens)
            return lambda: None

        generations.session.count = lambda text: 2 if go.wait(5) else 0
        _, reader = begin(generations, "one two", admit, max_tokens=1)
        generations.loop.call_soon(go.set)  # the loop's next act
        await reader.over.wait()
        assert asked == [2]

    run(main)


@pytest.mark.parametrize("text", ["one two", "word " * 1000])
def test_who_is_not_admitted_is_told(text):
    async def main(generations, block):
        def admit(tokens, most):
            raise LimitedError("enough", retry_after=3)

        _, reader = begin(generations, text, admit)
        await reader.over.wait()
        assert isinstance(reader.error, LimitedError)
        assert generations.session.begun == 0
        assert read_generated(block, block.models()["m", "1"]).ends[End.REFUSED] == 1

    run(main)


def test_who_stops_at_once_is_told_nothing():
    async def main(generations, block):
        made, reader = begin(generations)
        made.stop()
        made.stop(End.SLOW)
        assert not made.open
        while len(generations):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        assert (reader.pieces, reader.error) == ([], None)
        assert generations.session.begun == 0
        assert read_generated(block, block.models()["m", "1"]).ends[End.LEFT] == 1

    run(main)


def test_a_reader_that_fails_stops_its_own_and_no_other():
    async def main(generations, block):
        made, reader = begin(generations, max_tokens=100_000)

        def fail(pieces):
            raise ValueError("a bug")

        reader.took = fail
        short, last = begin(generations, max_tokens=1)
        last.took = fail
        _, other = begin(generations, max_tokens=5)
        await other.over.wait()
        while made.open or len(generations):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        assert read_generated(block, block.models()["m", "1"]).ends[End.FAILED] == 1
        assert not short.open
        for one in (reader, last):  # whoever asked gets an answer all the same
            assert isinstance(one.error, CrashedError)

    run(main)


def test_an_engine_that_raises_what_it_may_not():
    async def main(generations, block):
        def boom(*_):
            raise ZeroDivisionError

        generations.session.generate = boom
        _, reader = begin(generations)
        await reader.over.wait()
        assert isinstance(reader.error, CrashedError)

    run(main)


def test_nothing_is_told_of_a_model_that_never_generated():
    block = Block()
    block.region("m", "1")
    assert b"{" not in write_text(families(block))


class _Broken:
    """Fails at its first token."""

    def generate(self, prompt, sampling, tell):
        tell(Piece("", 0, Finish.ERROR, "no memory"))
        return lambda: None


def test_a_model_that_cannot_make_one_token_is_not_served():
    with pytest.raises(CrashedError, match="no memory"):
        try_generating(_Broken())
    session = Words(context=0)
    with pytest.raises(InvalidError):
        try_generating(session)
    session.close()
