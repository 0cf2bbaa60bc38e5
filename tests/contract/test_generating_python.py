"""A Python folder with a `generate` function against the contract of sessions that generate."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.core.native import NativeModel, write_native
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing.generating import GeneratingContract, Told, generated
from modelworks.testing.loaders import trusted

pytestmark = pytest.mark.contract
SIGNATURE = Signature(
    (TensorSpec("text_input", Datatype.BYTES, (None,)),),
    (TensorSpec("text_output", Datatype.BYTES, (None,)),),
)
CODE = """
import itertools, os, time

def load(folder):
    return " "

def generate(between, text, sampling):
    if text == "refuse":
        raise ValueError("not this text")
    if text == "number":
        yield 7
    if text == "die":
        yield "a"
        os.abort()
    if text == "large":
        yield "é" * 300_000
        return
    if text == "break":
        {}["nowhere"]
    for word in itertools.cycle(text.split() or ["nothing"]):
        yield word + between
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yielding")
    (folder / "model").mkdir()
    (folder / "model" / "model.py").write_text(CODE)
    write_native(folder, NativeModel("python", "model", SIGNATURE))
    return folder


@pytest.fixture(scope="module")
def shared(artifact):
    """One process for the tests that do not end it."""
    session = trusted(artifact)
    yield session
    session.close()


class TestPythonGenerator(GeneratingContract):
    """A folder with `model.py`."""

    @pytest.fixture
    def session(self, request, artifact, shared):
        if "closed" not in request.node.name:
            yield shared
            return
        session = trusted(artifact)
        yield session
        session.close()


def test_it_predicts_what_it_generates(shared):
    [texts] = shared.infer({"text_input": np.array([b"one two", "é".encode()], dtype=object)})
    assert texts.tolist() == [b"one two " * 8, "é ".encode() * 16]


def test_what_its_code_refuses_and_breaks(shared):
    for text, refused, said in (
        ("refuse", True, "model.py, line 9: ValueError: not this text"),
        ("break", False, "model.py, line 19: KeyError"),
        ("number", False, "gave int"),
    ):
        last = generated(shared, text).pieces[-1]
        assert last.finish is Finish.ERROR
        assert last.refused is refused
        assert said in last.error
    assert generated(shared, "one").text == "one " * 8


def test_a_large_piece_and_a_prompt_that_is_too_large(shared):
    told = generated(shared, "large")
    assert told.text == "é" * 300_000
    assert sum(piece.tokens for piece in told.pieces) == 1
    with pytest.raises(InvalidError, match="can be told"):
        shared.generate(Prompt("x" * 200_000), Sampling(), Told())


def test_a_process_that_dies_ends_what_it_generates_and_comes_again(artifact):
    session = trusted(artifact)
    try:
        told, other = Told(), Told()
        many = Sampling(max_tokens=10_000_000)
        session.generate(Prompt("one"), many, other)
        assert other.first.wait(30)
        session.generate(Prompt("die"), many, told)
        for one in (told, other):
            last = one.wait()
            assert last.finish is Finish.ERROR
            assert "started again" in last.error
        _comes_again(session)
        os.kill(session.pid, signal.SIGKILL)
        _comes_again(session)
    finally:
        session.close()


def _comes_again(session):
    end = time.monotonic() + 60
    while True:
        try:
            last = generated(session, "one").pieces[-1]
        except UnavailableError:
            last = None
        if last is not None and last.finish is Finish.LENGTH:
            return
        assert time.monotonic() < end
        time.sleep(0.02)


def test_hundreds_share_it_and_none_waits_for_another(shared):
    sampling = replace(Sampling(), max_tokens=20)
    many = [Told() for _ in range(64)]
    for place, told in enumerate(many):
        shared.generate(Prompt(f"w{place}"), sampling, told)
    for place, told in enumerate(many):
        assert told.wait().finish is Finish.LENGTH
        assert told.text == f"w{place} " * 20
