"""What a model's process says of what it generates, when it says what it may not."""

import socket
import threading
import time

import pytest

from modelworks.core.errors import UnavailableError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.sandbox import wire
from modelworks.sandbox.pieces import Pieces
from modelworks.sandbox.wire import Word
from modelworks.testing.generating import Told

pytestmark = pytest.mark.unit


class Parent:
    """The parent's side; `child` is the socket of a child that the test plays."""

    def __init__(self, silence_s=30.0):
        self.why = []
        self.told = threading.Event()
        self.pieces = Pieces(silence_s, self.end)
        self.child = socket.socket(fileno=self.pieces.theirs.detach())
        self.child.settimeout(20)

    def end(self, why):
        self.why.append(why)
        self.told.set()

    def ask(self, text="t"):
        told = Told()
        stop = self.pieces.generate(Prompt(text), Sampling(), told)
        message = self.child.recv(wire.LONGEST)
        word, number, _, _ = wire.unpack(message)
        assert word == Word.GENERATE
        return told, stop, number

    def say(self, word, number, first=0, data=None):
        self.child.send(wire.pack(word, number, first, data=data))


@pytest.fixture
def parent():
    made = []

    def start(**more):
        made.append(Parent(**more))
        return made[-1]

    yield start
    for one in made:
        one.pieces.close()
        one.pieces.close()
        one.child.close()


def test_pieces_a_stop_and_a_count(parent):
    here = parent()
    told, stop, number = here.ask()
    here.say(Word.PIECE, number, data={"text": "a", "tokens": 1})
    stop()
    assert wire.unpack(here.child.recv(wire.LONGEST))[:2] == (Word.STOP, number)
    here.say(Word.PIECE, number, data={"text": "", "tokens": 0, "finish": "cancelled"})
    assert told.wait().finish is Finish.CANCELLED
    assert told.text == "a"
    stop()  # quiet
    counted = []
    thread = threading.Thread(target=lambda: counted.append(here.pieces.count("x")))
    thread.start()
    word, number, _, _ = wire.unpack(here.child.recv(wire.LONGEST))
    assert word == Word.COUNT
    here.say(Word.COUNTED, 999, 5)  # of nobody: it may have waited too long
    here.say(Word.COUNTED, number, 7)
    thread.join(20)
    assert counted == [7]


@pytest.mark.parametrize(
    ("word", "data"),
    [
        (Word.PIECE, None),
        (Word.PIECE, []),
        (Word.PIECE, {"text": 7}),
        (Word.PIECE, {"text": "a", "tokens": -1}),
        (Word.PIECE, {"text": "a", "tokens": 1 << 40}),
        (Word.PIECE, {"text": "a", "tokens": True}),
        (Word.PIECE, {"text": "a", "finish": "never"}),
        (Word.PIECE, {"text": "a", "finish": []}),
        (Word.PIECE, {"text": "a", "error": 7}),
        (Word.DONE, {}),
    ],
)
def test_what_is_none_ends_the_process(parent, word, data):
    here = parent()
    told, _, number = here.ask()
    here.say(word, number, data=data)
    assert here.told.wait(20)
    assert "broke its protocol" in here.why[0]
    assert told.wait().finish is Finish.ERROR
    with pytest.raises(UnavailableError):
        here.pieces.generate(Prompt("t"), Sampling(), Told())


@pytest.mark.parametrize("message", [b"x", bytes(31)])
def test_a_message_that_is_cut_short(parent, message):
    here = parent()
    told, _, _ = here.ask()
    here.child.send(message)
    assert here.told.wait(20)
    assert told.wait().finish is Finish.ERROR


def test_a_piece_of_nobody_and_one_behind_the_last(parent):
    here = parent()
    told, _, number = here.ask()
    here.say(Word.PIECE, number, data={"finish": "stop"})
    assert told.wait().finish is Finish.STOP
    here.say(Word.PIECE, number, data={"text": "more"})
    assert here.told.wait(20)
    assert "nobody asked for" in here.why[0]


@pytest.mark.parametrize("finish", [{}, {"finish": "stop"}])
def test_an_answer_without_an_end_ends_the_process(parent, finish):
    """Whoever wants it whole would hold more and more of it."""
    here = parent()
    _, _, number = here.ask()
    size = 100_000
    for _ in range((32 << 20) // (size + 1)):
        here.say(Word.PIECE, number, data={"text": "x" * size, "tokens": 0})
    here.say(Word.PIECE, number, data={"text": "x" * size, **finish})
    assert here.told.wait(20)
    assert "has no end" in here.why[0]


def test_silence_ends_the_process(parent):
    here = parent(silence_s=0.1)
    told, _, _ = here.ask()
    assert here.told.wait(20)
    assert here.why == ["generated nothing for 0.1 s"]
    assert told.wait().finish is Finish.ERROR


def test_a_child_that_reads_nothing_is_busy(parent):
    here = parent()
    texts = [Prompt("x" * 10_000)] * 10_000
    with pytest.raises(UnavailableError, match="too busy"):
        [here.pieces.generate(text, Sampling(), Told()) for text in texts]


def test_a_child_that_is_too_busy_to_be_stopped_is_told_when_it_reads_again(parent):
    here = parent()
    _, stop, number = here.ask()
    texts = [Prompt("x" * 10_000)] * 10_000
    with pytest.raises(UnavailableError, match="too busy"):
        [here.pieces.generate(text, Sampling(), Told()) for text in texts]
    stop()
    word = Word.GENERATE
    while word == Word.GENERATE:
        word, which, _, _ = wire.unpack(here.child.recv(wire.LONGEST))
    assert (word, which) == (Word.STOP, number)


def test_closed_it_cancels(parent):
    here = parent()
    told, _, _ = here.ask()
    here.pieces.close()
    assert told.wait().finish is Finish.CANCELLED


def test_more_texts_than_the_process_takes_are_refused_before_it_hears_of_them(parent):
    """Its own refusal would be told as its failure."""
    here = parent()
    many = [here.ask() for _ in range(1024)]
    with pytest.raises(UnavailableError, match="1024 texts are being made"):
        here.pieces.generate(Prompt("t"), Sampling(), Told())
    told, _, number = many[7]
    here.say(Word.PIECE, number, data={"finish": "stop"})
    assert told.wait().finish is Finish.STOP
    here.ask()  # there is room again


def test_counting_is_no_generating(parent):
    """Where the one thread of the process hangs, the other still counts tokens."""
    here = parent(silence_s=0.3)
    told, _, _ = here.ask()
    end = time.monotonic() + 20
    while not here.told.wait(0.01):
        assert time.monotonic() < end, "a process that hangs was not ended"
        here.say(Word.COUNTED, 999, 1)
    assert here.why == ["generated nothing for 0.3 s"]
    assert told.wait().finish is Finish.ERROR
