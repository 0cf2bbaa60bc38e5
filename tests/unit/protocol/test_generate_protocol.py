"""Triton's generate extension: what is read, what is refused, what is written."""

import json

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.protocol.generate import Answers, Asked, decode
from modelworks.protocol.sse import event

pytestmark = pytest.mark.unit


def read(**given):
    return decode(json.dumps(given).encode())


def test_defaults():
    assert read(text_input="") == Asked(Prompt(""), Sampling())


def test_every_parameter_in_either_place():
    given = {
        "max_tokens": 3,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.5,
        "seed": 2**63 - 1,
        "stop": ["a", "b"],
        "stream": True,
        "adapter": "x",
    }
    wanted = Asked(
        Prompt("t", "x"), Sampling(3, 0.0, 0.5, 7, 1.5, 2**63 - 1, ("a", "b")), True, "n"
    )
    assert read(text_input="t", id="n", parameters=given) == wanted
    assert read(text_input="t", id="n", **given) == wanted
    assert read(text_input="t", stop="end").sampling.stop == ("end",)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"nonsense", "body"),
        (b'{"text_input": "\xff"}', "body"),
        (b"{}", "text_input"),
        (b'{"text_input": ["a"]}', "text_input"),
        (b'{"text_input": null}', "text_input"),
        (b'{"text_input": "a", "id": 7}', "id"),
        (b'{"text_input": "a", "parameters": []}', "parameters"),
        (b'{"text_input": "a", "parameters": {"top_k": 1}, "top_k": 1}', "top_k"),
        (b'{"text_input": "a", "max_length": 1}', "parameters.max_length"),
        (b'{"text_input": "a", "max_tokens": 0}', "parameters.max_tokens"),
        (b'{"text_input": "a", "max_tokens": 1.5}', "parameters.max_tokens"),
        (b'{"text_input": "a", "max_tokens": true}', "parameters.max_tokens"),
        (b'{"text_input": "a", "max_tokens": 1e99}', "parameters.max_tokens"),
        (b'{"text_input": "a", "temperature": -1}', "parameters.temperature"),
        (b'{"text_input": "a", "temperature": "1"}', "parameters.temperature"),
        (b'{"text_input": "a", "top_p": 1.01}', "parameters.top_p"),
        (b'{"text_input": "a", "seed": -1}', "parameters.seed"),
        (b'{"text_input": "a", "seed": 9223372036854775808}', "parameters.seed"),
        (b'{"text_input": "a", "stop": [""]}', "parameters.stop"),
        (b'{"text_input": "a", "stop": [1]}', "parameters.stop"),
        (b'{"text_input": "a", "stop": {}}', "parameters.stop"),
        (b'{"text_input": "a", "stream": 1}', "parameters.stream"),
        (b'{"text_input": "a", "adapter": 1}', "parameters.adapter"),
    ],
)
def test_refused_with_the_field(body, field):
    with pytest.raises(InvalidError) as caught:
        decode(body)
    assert caught.value.field == field
    assert "\n" not in caught.value.message


def test_too_many_and_too_long_stops():
    for stop in (["a"] * 17, ["a" * 257]):
        with pytest.raises(InvalidError):
            read(text_input="t", stop=stop)


def test_what_is_written():
    answers = Answers('m"', "1", read(text_input="t", id="\n"))
    piece = answers.piece('a "b"\n\u2028')
    assert piece.startswith(b"data: ")
    assert piece.endswith(b"\n\n")
    assert piece.count(b"\n") == 2  # no line break inside an event
    assert json.loads(piece[6:]) == {
        "id": "\n",
        "model_name": 'm"',
        "model_version": "1",
        "text_output": 'a "b"\n\u2028',
    }
    last = json.loads(answers.last("", Finish.LENGTH, 2, 3)[6:])
    assert (last["finish_reason"], last["num_input_tokens"], last["num_output_tokens"]) == (
        "length",
        2,
        3,
    )
    assert event(b"{}") == b"data: {}\n\n"
