"""Requests of OpenAI's API: every field is honoured, or refused by its name."""

import base64
import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.generation import Finish, Sampling
from modelworks.protocol.openai.answers import DONE, Answers, usage_of
from modelworks.protocol.openai.asked import read_chat, read_completion
from modelworks.protocol.openai.embeddings import read_embeddings, write_embeddings
from modelworks.protocol.openai.errors import in_their_form

pytestmark = pytest.mark.unit
USER = {"role": "user", "content": "hello"}
CHAT = {"model": "m", "messages": [USER]}
TEXT = {"model": "m", "prompt": "hello"}
INPUT = {"model": "m", "input": "hello"}


def chat(**more):
    return read_chat(json.dumps({**CHAT, **more}).encode())


def completion(**more):
    return read_completion(json.dumps({**TEXT, **more}).encode())


def embeddings(**more):
    return read_embeddings(json.dumps({**INPUT, **more}).encode())


def test_what_is_left_out_is_as_openai_has_it():
    asked = chat()
    assert asked.sampling == Sampling(max_tokens=0)
    assert (asked.stream, asked.usage, asked.messages) == (False, False, (USER,))
    assert completion().sampling.max_tokens == 16
    assert chat(temperature=None, stop=None, n=None, tools=None) == asked


def test_every_field_that_is_honoured():
    asked = chat(
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        repetition_penalty=1.5,
        seed=11,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
    )
    assert asked.sampling == Sampling(7, 0.5, 0.9, 4, 1.5, 11, ("a", "b"))
    assert (asked.stream, asked.usage, asked.limit) == (True, True, "max_completion_tokens")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages[0]["content"] == "ab"
    assert completion(prompt=["one"]).prompt == "one"
    assert completion(stop="x").sampling.stop == ("x",)


@pytest.mark.parametrize(
    "more",
    [
        {"n": 1},
        {"logprobs": False},
        {"presence_penalty": 0},
        {"frequency_penalty": 0.0},
        {"logit_bias": {}},
        {"tools": []},
        {"tool_choice": "auto"},
        {"response_format": {"type": "text"}},
        {"service_tier": "auto"},
        {"store": False},
        {"user": ""},
    ],
)
def test_fields_that_ask_for_nothing_are_taken(more):
    assert chat(**more) == chat()


@pytest.mark.parametrize(
    ("more", "field", "kind"),
    [
        ({"model": None}, "model", InvalidError),
        ({"model": ""}, "model", InvalidError),
        ({"messages": []}, "messages", InvalidError),
        ({"messages": [USER] * 5000}, "messages", InvalidError),
        ({"messages": [7]}, "messages[0]", InvalidError),
        ({"messages": [USER, {"role": 1, "content": ""}]}, "messages[1].role", InvalidError),
        ({"messages": [{"role": "user"}]}, "messages[0].content", InvalidError),
        ({"messages": [{**USER, "name": "x"}]}, "messages[0].name", UnsupportedError),
        ({"messages": [{**USER, "tool_calls": [1]}]}, "messages[0].tool_calls", UnsupportedError),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
            UnsupportedError,
        ),
        ({"n": 2}, "n", UnsupportedError),
        ({"n": True}, "n", UnsupportedError),
        ({"logprobs": True}, "logprobs", UnsupportedError),
        ({"top_logprobs": 3}, "top_logprobs", UnsupportedError),
        ({"logit_bias": {"1": 2}}, "logit_bias", UnsupportedError),
        ({"presence_penalty": 0.1}, "presence_penalty", UnsupportedError),
        ({"frequency_penalty": 0.1}, "frequency_penalty", UnsupportedError),
        ({"tools": [{}]}, "tools", UnsupportedError),
        ({"tool_choice": "required"}, "tool_choice", UnsupportedError),
        ({"response_format": {"type": "json_object"}}, "response_format", UnsupportedError),
        ({"reasoning_effort": "high"}, "reasoning_effort", UnsupportedError),
        ({"user": "me"}, "user", UnsupportedError),
        ({"metadata": {"a": "b"}}, "metadata", UnsupportedError),
        ({"service_tier": "flex"}, "service_tier", UnsupportedError),
        ({"store": True}, "store", UnsupportedError),
        ({"colour": "red"}, "colour", InvalidError),
        ({"max_tokens": 0}, "max_tokens", InvalidError),
        ({"max_tokens": 2.5}, "max_tokens", InvalidError),
        ({"max_completion_tokens": -1}, "max_completion_tokens", InvalidError),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", InvalidError),
        ({"temperature": 2.1}, "temperature", InvalidError),
        ({"temperature": True}, "temperature", InvalidError),
        ({"top_p": -0.1}, "top_p", InvalidError),
        ({"seed": -1}, "seed", InvalidError),
        ({"seed": 1.5}, "seed", InvalidError),
        ({"stop": [""]}, "stop", InvalidError),
        ({"stop": ["a"] * 17}, "stop", InvalidError),
        ({"stop": 7}, "stop", InvalidError),
        ({"stream": 1}, "stream", InvalidError),
        ({"stream_options": {}}, "stream_options", InvalidError),
        ({"stream": True, "stream_options": 7}, "stream_options", InvalidError),
        (
            {"stream": True, "stream_options": {"include_usage": []}},
            "stream_options.include_usage",
            InvalidError,
        ),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
            UnsupportedError,
        ),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(more, field, kind):
    with pytest.raises(kind) as caught:
        chat(**more)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": 1}, "logprobs"),
        ({"messages": [USER]}, "messages"),
    ],
)
def test_the_same_of_completions(more, field):
    with pytest.raises(ModelworksError) as caught:
        completion(**more)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", [1]]}, "input[0]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [[1, -1]]}, "input[0]"),
        ({"input": [[1] * 8193]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": []}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"user": "me"}, "user"),
        ({"colour": 1}, "colour"),
    ],
)
def test_the_same_of_embeddings(more, field):
    with pytest.raises(ModelworksError) as caught:
        embeddings(**more)
    assert caught.value.field == field


def test_inputs_of_embeddings():
    assert embeddings(input="a").texts == ("a",)
    assert embeddings(input=["a", "b"]).texts == ("a", "b")
    assert embeddings(input=[1, 2]).tokens == ((1, 2),)
    assert embeddings(input=[[1], [2, 3]]).tokens == ((1,), (2, 3))


def test_embeddings_as_numbers_and_as_base64():
    rows = np.array([[0.1, 0.2], [3, 4]], np.float32)
    plain = orjson.loads(write_embeddings(embeddings(input=["a", "b"]), rows, 5))
    np.testing.assert_array_equal(
        np.array([item["embedding"] for item in plain["data"]], np.float32), rows
    )
    assert plain["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    packed = orjson.loads(write_embeddings(embeddings(encoding_format="base64"), rows[:1], 5))
    data = base64.b64decode(packed["data"][0]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(data, "<f4"), rows[0])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *("model", "messages", "prompt", "input", "stream", "stream_options", "stop", "seed"),
        *("temperature", "n", "tools", "max_tokens", "encoding_format", "dimensions", "logprobs"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES))
def test_whatever_comes_is_read_or_refused_in_words(data):
    body = json.dumps(data).encode()
    for base, read in ((CHAT, read_chat), (TEXT, read_completion), (INPUT, read_embeddings)):
        for sent in (body, json.dumps({**base, **data}).encode()):
            try:
                read(sent)
            except ModelworksError as error:
                assert error.field
                assert "\n" not in error.message


# -- answers


def test_chunks_are_json_each_with_the_same_head():
    answers = Answers(chat(stream=True, stream_options={"include_usage": True}))
    text = answers.first() + answers.piece('a"\n❄') + answers.last(Finish.STOP, usage_of(3, 1, 2))
    assert text.endswith(DONE)
    events = [json.loads(one[6:]) for one in text.split(b"\n\n") if one and b"[DONE]" not in one]
    assert len({(one["id"], one["created"], one["object"]) for one in events}) == 1
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[1]["choices"][0]["delta"] == {"content": 'a"\n❄'}
    assert events[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    plain = Answers(completion(stream=True)).piece("x")
    assert json.loads(plain[6:])["choices"][0]["text"] == "x"
    assert "usage" not in json.loads(plain[6:])


@pytest.mark.parametrize(
    ("status", "kind", "code", "out"),
    [
        (400, "invalid_request_error", None, 400),
        (401, "authentication_error", "invalid_api_key", 401),
        (403, "permission_error", None, 403),
        (404, "invalid_request_error", "model_not_found", 404),
        (429, "rate_limit_error", "rate_limit_exceeded", 429),
        (501, "invalid_request_error", "unsupported", 400),
        (503, "server_error", "overloaded", 503),
        (500, "server_error", None, 500),
    ],
)
def test_errors_in_openais_form(status, kind, code, out):
    found, body = in_their_form(status, b'{"error":"why","field":"x"}')
    assert found == out
    wanted = {"message": "why", "type": kind, "param": "x", "code": code}
    assert json.loads(body) == {"error": wanted}
    assert json.loads(in_their_form(500, b"\xff")[1])["error"]["message"]


def test_a_name_that_is_long_is_told_shortened():
    with pytest.raises(InvalidError) as caught:
        read_chat(orjson.dumps({"x" * 100_000: 1}))
    assert caught.value.field == "x" * 60
