"""Turns of generations, the choice of tokens, prefixes that are kept, and texts as they come."""

import select
import socket

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from modelworks.core.errors import CrashedError
from modelworks.core.generation import Finish, Sampling
from modelworks.ext.engines.language.child import Serving
from modelworks.ext.engines.language.choosing import Choosing
from modelworks.ext.engines.language.lines import Lines
from modelworks.ext.engines.language.opened import Opened
from modelworks.ext.engines.language.prefixes import Prefixes, State
from modelworks.ext.engines.language.template import Template
from modelworks.ext.engines.language.tokens import Tokens
from modelworks.ext.engines.language.turns import CHUNK, Turns
from modelworks.ext.engines.language.writing import Bytes, Writing
from modelworks.ext.formats.language import Facts

pytestmark = pytest.mark.unit
END = 9
FACTS = Facts(
    context=400,
    ends=(END,),
    begin=-1,
    decoder="model.onnx",
    kind="llama",
    adapters={},
    template="",
    marks={},
    token_bytes=10,
)
GREEDY = Sampling(max_tokens=5, temperature=0.0)


class Sums:
    """The next token is the sum of all before, modulo 8: what is forgotten shows."""

    joint = False
    states = 0

    def __init__(self, bad=None):
        self.steps = []
        self.bad = bad

    def state(self, room, adapter):
        return {"tokens": [], "room": room, "adapter": adapter}

    def compute(self, parts):
        [part] = parts
        return [self.one(part)]

    def one(self, part):
        model, tokens, wanted = part
        if self.bad in tokens:
            raise RuntimeError("a token that\nfails")
        self.steps.append(len(tokens))
        model["tokens"] += tokens
        assert len(model["tokens"]) <= model["room"]
        if not wanted:
            return None
        found = np.zeros(10, np.float32)
        found[sum(model["tokens"]) % 8] = 1.0
        return found

    def rewind(self, model, length):
        del model["tokens"][length:]


def said(prompt, count):
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(sum(tokens) % 8)
    return tokens[len(prompt) :]


def finished(turns):
    """Every word until nobody has anything to do."""
    told = []
    while turns.busy:
        told += turns.step()
    return told


def tokens_of(told, number):
    return [token for who, token, *_ in told if who == number and token >= 0]


def test_everyone_gets_a_token_in_turn_and_those_behind_wait_in_order():
    turns = Turns(Sums(), FACTS, 2, 0)
    for number in (1, 2, 3):
        turns.enter(number, [number, 1], "", GREEDY)
    told = finished(turns)
    assert [who for who, *_ in told[:6]] == [1, 2, 1, 2, 1, 2]
    assert [who for who, *_ in told[-5:]] == [3] * 5
    for number in (1, 2, 3):
        assert tokens_of(told, number) == said([number, 1], 5)


def test_a_long_prompt_holds_nobody_up_for_longer_than_a_part_of_it():
    decoder = Sums()
    turns = Turns(decoder, FACTS, 2, 0)
    turns.enter(1, [1] * 390, "", GREEDY)
    turns.enter(2, [2], "", Sampling(max_tokens=3, temperature=0.0))
    told = finished(turns)
    assert [who for who, *_ in told[:3]] == [2, 2, 2]
    assert max(decoder.steps) == CHUNK
    assert tokens_of(told, 1) == said([1] * 390, 5)


def test_an_answer_ends_where_the_context_does_and_at_the_end_token():
    turns = Turns(Sums(), FACTS, 1, 0)
    turns.enter(1, [1] * 398, "", GREEDY)
    told = finished(turns)
    assert len(tokens_of(told, 1)) == 2
    assert told[-1][2] == Finish.LENGTH
    ending = Turns(Sums(), Facts(**{**_fields(FACTS), "ends": (3,)}), 1, 0)
    ending.enter(1, [3], "", GREEDY)
    assert finished(ending) == [(1, -1, Finish.STOP, 0, "")]


def _fields(facts):
    return {name: getattr(facts, name) for name in facts.__slots__}


def test_stopped_while_waiting_and_while_computing():
    turns = Turns(Sums(), FACTS, 1, 0)
    turns.enter(1, [1], "", GREEDY)
    turns.enter(2, [2], "", GREEDY)
    assert turns.step()[0][0] == 1
    assert turns.stop(2) == [(2, -1, Finish.CANCELLED, 0, "")]
    assert turns.stop(1) == [(1, -1, Finish.CANCELLED, 0, "")]
    assert turns.stop(1) == []
    assert not turns.busy


def test_what_fails_is_one_generation_and_said_in_one_line():
    turns = Turns(Sums(bad=7), FACTS, 2, 1000)
    turns.enter(1, [7], "", GREEDY)
    turns.enter(2, [2], "", GREEDY)
    told = finished(turns)
    assert (1, -1, Finish.ERROR, 0, "a token that fails") in told
    assert tokens_of(told, 2) == said([2], 5)


def test_a_kept_prefix_answers_as_if_all_had_been_computed():
    decoder = Sums()
    turns = Turns(decoder, FACTS, 1, 1 << 20)
    prompt = [1, 2, 3, 4, 5, 6]
    turns.enter(1, prompt, "", GREEDY)
    finished(turns)
    for number, asked in enumerate(([*prompt, 7], prompt, [1, 2, 3, 4, 0]), 2):
        decoder.steps.clear()
        turns.enter(number, asked, "", GREEDY)
        told = finished(turns)
        assert tokens_of(told, number) == said(asked, 5)
        cached = told[-1][3]
        assert cached >= 4
        assert sum(decoder.steps) == len(asked) - cached + 4


def test_who_asks_between_two_steps_is_heard():
    decoder = Sums()
    turns = Turns(decoder, FACTS, 3, 0)
    for number in (1, 2, 3):
        turns.enter(number, [number], "", GREEDY)
    heard = []

    def between():
        heard.append(len(decoder.steps))
        heard.extend(turns.stop(2))

    assert [who for who, *_ in turns.step(between)] == [1, 3]
    assert heard == [1, (2, -1, Finish.CANCELLED, 0, ""), 1]


class Slow(Sums):
    """Says something to its own process while it computes, and looks for an answer in the next."""

    def __init__(self, parent):
        super().__init__()
        self.parent, self.lines = parent, Lines(parent)
        self.answered = []

    def one(self, part):
        found = super().one(part)
        if len(self.steps) == 1:
            self.lines.send({"ask": 1, "messages": [{"role": "user", "content": "hello"}]})
        elif not self.answered:
            self.answered.append(bool(select.select([self.parent], [], [], 0)[0]))
            self.parent.shutdown(socket.SHUT_WR)
        return found


def test_a_conversation_is_written_before_everybody_had_his_turn():
    """Its caller waits `row_s` seconds and takes the process to be stuck then."""
    parent, control = socket.socketpair()
    with parent, control:
        decoder = Slow(parent)
        turns = Turns(decoder, FACTS, 2, 0)
        for number in (1, 2):
            turns.enter(number, [number], "", GREEDY)
        Serving(control, Lines(control), Opened(turns, Template("", {}), 400)).run()
        assert decoder.answered == [True]
        told = decoder.lines.read()
        assert {"ask": 1, "began": True} in told
        assert {"ask": 1, "found": "user: hello\nassistant:"} in told


class Together(Sums):
    """Everybody's step at once; `groups` says whose."""

    joint = True
    states = 6

    def __init__(self, bad=None):
        super().__init__(bad)
        self.groups = []
        self.sizes = []

    def compute(self, parts):
        self.groups.append([part.model["adapter"] for part in parts])
        self.sizes.append([len(part.tokens) for part in parts])
        if any(self.bad in part.tokens for part in parts):
            raise RuntimeError("all of them fail")
        return [self.one(part) for part in parts]


def test_those_of_one_adapter_share_a_step_and_each_is_as_alone():
    decoder = Together()
    turns = Turns(decoder, FACTS, 4, 0)
    for number, adapter in ((1, ""), (2, "a"), (3, ""), (4, "a")):
        turns.enter(number, [number, 1], adapter, GREEDY)
    told = finished(turns)
    assert decoder.groups == [["", ""], ["a", "a"]] * 5
    for number in (1, 2, 3, 4):
        assert tokens_of(told, number) == said([number, 1], 5)


def test_long_prompts_share_what_one_step_reads_and_answers_go_on_beside_them():
    decoder = Together()
    turns = Turns(decoder, FACTS, 4, 0)
    for number in (1, 2, 3):
        turns.enter(number, [number] * 300, "", GREEDY)
    turns.enter(4, [4], "", GREEDY)
    told = finished(turns)
    assert decoder.sizes[:2] == [[CHUNK // 4] * 3 + [1], [CHUNK // 3] * 3 + [1]]
    for number in (1, 2, 3):
        assert tokens_of(told, number) == said([number] * 300, 5)


def test_one_step_of_many_is_bounded():
    decoder = Together()
    decoder.states = 0
    turns = Turns(decoder, FACTS, 32, 0)
    for number in range(32):
        turns.enter(number, [1] * 300, "", GREEDY)
    turns.step()
    assert decoder.sizes == [[CHUNK // 32] * 32]


def test_a_step_that_fails_is_everybodys_who_had_a_part_in_it():
    turns = Turns(Together(bad=7), FACTS, 3, 1000)
    turns.enter(1, [7], "a", GREEDY)
    turns.enter(2, [2], "a", GREEDY)
    turns.enter(3, [3], "", GREEDY)
    told = finished(turns)
    failed = {(who, why) for who, _, finish, _, why in told if finish == Finish.ERROR}
    assert failed == {(1, "all of them fail"), (2, "all of them fail")}
    assert tokens_of(told, 3) == said([3], 5)


def test_no_more_states_are_kept_than_the_engine_has_beside_the_slots():
    turns = Turns(Together(), FACTS, 4, 1 << 20)
    for number in range(8):
        turns.enter(number, [number] * 6, "", GREEDY)
    finished(turns)
    assert turns._prefixes.size == 2 * 10 * FACTS.token_bytes  # of a prompt 6, 4 of its answer


# -- prefixes


def rewound(state, length):
    del state.model[length:]


def kept(tokens, room=100, adapter=""):
    return State(list(tokens), adapter, room, list(tokens))


def test_prefixes_are_bounded_and_the_oldest_goes_first():
    prefixes = Prefixes(2500, 10, rewound)
    for first in range(4):
        prefixes.keep(kept([first] * 6))
    assert prefixes.size == 2000
    assert prefixes.take([0] * 7, "", 10) is None
    assert prefixes.take([3] * 7, "", 10).tokens == [3] * 6
    assert prefixes.size == 1000
    nothing = Prefixes(0, 10, rewound)
    nothing.keep(kept([1] * 6))
    assert nothing.size == 0


def test_a_prefix_serves_its_adapter_and_needs_the_room():
    prefixes = Prefixes(10_000, 10, rewound)
    prefixes.keep(kept([1] * 6, adapter="a"))
    assert prefixes.take([1] * 9, "", 10) is None
    assert prefixes.take([1] * 9, "a", 101) is None
    assert prefixes.take([1, 1, 1, 2, 2], "a", 10) is None  # too little in common
    found = prefixes.take([1] * 6, "a", 10)
    assert (found.tokens, found.model) == ([1] * 5, [1] * 5)  # one token is left to compute


def test_what_another_one_holds_too_is_not_kept_twice():
    prefixes = Prefixes(10_000, 10, rewound)
    prefixes.keep(kept([1, 2, 3, 4]))
    prefixes.keep(kept([1, 2, 3, 4, 5]))
    assert prefixes.size == 1000


def test_an_engine_that_cannot_go_back_computes_anew():
    def never(state, length):
        raise RuntimeError(length)

    prefixes = Prefixes(10_000, 10, never)
    prefixes.keep(kept([1] * 6))
    assert prefixes.take([1] * 4 + [2, 2], "", 10) is None
    assert prefixes.size == 0


# -- the choice of a token

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))


def shares(sampling, seen=(), count=4000):
    choosing = Choosing(sampling)
    found = np.bincount([choosing.choose(LOGITS, seen) for _ in range(count)], minlength=4)
    return found / count


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [0.685, 0.247, 0.0616, 0.0068]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
    ],
)
def test_tokens_come_in_their_shares(more, wanted):
    found = shares(Sampling(**{"seed": 3, **more}))
    np.testing.assert_allclose(found, wanted, atol=0.04)
    assert all(found[place] == 0 for place, share in enumerate(wanted) if share == 0)


def test_what_was_said_is_less_likely_to_be_said_again():
    sampling = Sampling(temperature=0.0, repetition_penalty=3.0)
    assert Choosing(sampling).choose(LOGITS, [0]) == 1
    assert Choosing(sampling).choose(-LOGITS, [3]) == 2  # positive ones are divided
    assert Choosing(sampling).choose(LOGITS, []) == 0
    assert LOGITS[0] == np.float32(np.log(0.5))  # the model's own are not changed


def test_a_seed_makes_the_same_choices():
    pairs = [[Choosing(Sampling(seed=seed)).choose(LOGITS, ()) for seed in range(50)]] * 2
    assert pairs[0] == pairs[1]
    assert len(set(pairs[0])) > 1


@pytest.mark.parametrize("bad", [[np.nan] * 4, [np.inf, 0, 0, 0], [-np.inf] * 4])
def test_logits_that_are_no_numbers_fail(bad):
    with pytest.raises(CrashedError, match="no numbers"):
        Choosing(Sampling()).choose(np.array(bad, np.float32), ())


# -- texts

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module")
def letters():
    """A token a byte."""
    made = Tokenizer(models.BPE({one: place for place, one in enumerate(BYTES)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def written(letters, text, *stop):
    writing = Writing(Tokens(letters), stop)
    parts = []
    for token in letters.encode(text).ids:
        parts.append(writing.add(token))
        if writing.stopped:
            break
    else:
        parts.append(writing.rest())
    return parts, writing.stopped


def test_only_whole_characters_come(letters):
    parts, _ = written(letters, "aé❄😀")
    assert [part for part in parts if part] == ["a", "é", "❄", "😀"]


@pytest.mark.parametrize(
    ("stop", "wanted", "stopped"),
    [
        (("cd",), "ab", True),
        (("zz", "e"), "abcd", True),
        (("bcd", "cd"), "a", True),
        (("fgh",), "abcdef", False),
        (("a",), "", True),
        (("xa", "efg"), "abcdef", False),
    ],
)
def test_a_stop_string_ends_a_text_and_its_beginning_waits(letters, stop, wanted, stopped):
    parts, found = written(letters, "abcdef", *stop)
    assert ("".join(parts), found) == (wanted, stopped)


def test_bytes_are_characters_once_they_are_whole_and_wrong_ones_are_marked():
    writing = Writing(Bytes(), ("end",))
    data = "a❄".encode() + b"\xff" + b"en" + b"d!"
    parts = [writing.add(bytes([byte]).decode("latin-1")) for byte in data]
    assert "".join(parts) == "a❄\ufffd"
    assert parts[:4] == ["a", "", "", "❄"]
    assert writing.stopped


def test_a_stop_string_that_begins_twice(letters):
    parts, stopped = written(letters, "aababc", "abc")
    assert ("".join(parts), stopped) == ("aab", True)


def test_bytes_that_are_no_text_end_no_answer():
    """A model may choose any token: what was sent as `A` is none with the byte behind it."""
    names = ["?", *(f"<0x{byte:02X}>" for byte in range(256)), "b", "\u2581c"]
    vocabulary = {name: place for place, name in enumerate(names)}
    made = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="?"))
    spaces = decoders.Replace("\u2581", " ")
    made.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse()])
    writing = Writing(Tokens(made), ())
    tokens = [vocabulary[name] for name in ("<0x41>", "<0xE2>", "b", "\u2581c", "b")]
    assert "".join(map(writing.add, tokens)) == "Ab cb"
    with pytest.raises(TypeError):
        writing.add(1 << 40)
