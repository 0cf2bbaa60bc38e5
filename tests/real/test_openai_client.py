"""OpenAI's own client against a server with a language model of ours."""

import http.client
import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import onnx
import openai
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelworks.core.served import ServedModel
from modelworks.testing.servers import Server, serve_list
from tiny_decoder import tiny_decoder

pytestmark = pytest.mark.real
REST = " two three four five six seven eight nine ten."
HELLO = [{"role": "user", "content": "hello"}]
VECTORS = np.arange(40, dtype=np.float32).reshape(10, 4) / 8


def vectors(path):
    """Token ids to the mean of their vectors."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["each"]),
            helper.make_node("ReduceMean", ["each", "axis"], ["sentence_embedding"], keepdims=0),
        ],
        "vectors",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "tokens"])],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["rows", 4])],
        [
            numpy_helper.from_array(VECTORS, "table"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    return path


def line(name, path, version="1.0.0", **more):
    return ServedModel(
        name, version, str(path), f"sha256:{name}", format="genai", engine="genai", **more
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openai")
    story = tiny_decoder(folder / "story")
    models = [
        line("story", story, aliases=("champion",)),
        line("narrow", story, engine_options={"tokens": "40"}),
        ServedModel("vectors", "1.0.0", str(vectors(folder / "v.onnx")), "sha256:v"),
    ]
    with Server(["--served", str(serve_list(folder / "served.json", models))]) as server:
        until(lambda: ready(server))
        yield server


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come about in time")


def get(server, path):
    connection = http.client.HTTPConnection(server.address, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def ready(server):
    return get(server, "/v2/health/ready")[0] == 200


def metric(server, name, **labels):
    """The sum of a family's samples that have these labels."""
    found = 0.0
    for text in get(server, "/metrics")[1].splitlines():
        if re.match(rf"{name}(_total)?[{{ ]", text) and all(
            f'{key}="{value}"' in text for key, value in labels.items()
        ):
            found += float(text.rpartition(" ")[2])
    return found


def test_a_conversation(client):
    found = client.chat.completions.create(model="story", messages=HELLO, temperature=0)
    choice = found.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", REST)
    assert choice.finish_reason == "stop"
    assert found.usage.completion_tokens == 10
    assert found.usage.total_tokens == found.usage.prompt_tokens + 10
    assert (found.model, found.object) == ("story", "chat.completion")


def test_a_conversation_in_pieces_is_the_same_and_says_what_it_took(client):
    whole = client.chat.completions.create(model="story", messages=HELLO, temperature=0)
    stream = client.chat.completions.create(
        model="story",
        messages=HELLO,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [chunk for chunk in chunks if chunk.choices]
    texts = [chunk.choices[0].delta.content or "" for chunk in said]
    assert "".join(texts) == REST
    assert sum(map(bool, texts)) > 3
    assert said[-1].choices[0].finish_reason == "stop"
    assert {chunk.choices[0].finish_reason for chunk in said[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_completions_stop_where_they_are_told(client):
    ask = client.completions.create
    long = ask(model="story", prompt="one two", temperature=0, max_tokens=3)
    assert (long.choices[0].text, long.choices[0].finish_reason) == (" three four five", "length")
    stopped = ask(model="story", prompt="one two", temperature=0, stop=["seven", "never"])
    assert stopped.choices[0].text == " three four five six "
    assert stopped.choices[0].finish_reason == "stop"
    stream = ask(model="story@champion", prompt="one two", temperature=0, stop="six", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == " three four five "


def test_what_the_prompt_teaches_is_copied_so_nothing_of_it_is_lost(client):
    """Also where the beginning of a prompt was computed for an earlier one."""
    prompt = "five. nine two four" + " six six" * 20 + " nine"
    taught = [
        client.completions.create(model="story", prompt=prompt + end, temperature=0, max_tokens=2)
        for end in ("", "", " two")
    ]
    assert [found.choices[0].text for found in taught] == [" two four", " two four", " four six"]
    cached = [found.usage.prompt_tokens_details.cached_tokens for found in taught]
    assert cached[0] < cached[1] == taught[1].usage.prompt_tokens - 1
    assert cached[2] >= taught[0].usage.prompt_tokens


def test_a_seed_gives_the_same_answer_again(client):
    def ask(seed):
        found = client.completions.create(
            model="story", prompt="q", temperature=2.0, seed=seed, max_tokens=20
        )
        return found.choices[0].text

    assert ask(7) == ask(7)
    assert len({ask(seed) for seed in range(6)}) > 1


def test_adapters_answer_by_their_names(client):
    ask = client.completions.create
    found = ask(model="story:backwards", prompt="ten. nine", temperature=0, max_tokens=3)
    assert found.choices[0].text == " eight seven six"
    again = ask(model="story:1.0.0:backwards", prompt="ten. nine", temperature=0, max_tokens=3)
    assert again.choices[0].text == found.choices[0].text
    assert ask(model="story", prompt=" nine", temperature=0).choices[0].text == " ten."
    with pytest.raises(openai.NotFoundError, match="no adapter 'forwards'"):
        ask(model="story:forwards", prompt="ten. nine")


def test_models_are_listed_with_their_adapters(client):
    found = {model.id for model in client.models.list()}
    assert {"story", "story@champion", "story:1.0.0", "story:backwards", "vectors"} <= found
    assert client.models.retrieve("story:backwards").id == "story:backwards"
    assert client.models.retrieve("story@champion:backwards").id == "story@champion:backwards"
    for missing in ("story:nobody", "story:9.9.9:backwards", "story@nobody"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(missing)
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_embeddings_of_token_ids(client):
    found = client.embeddings.create(model="vectors", input=[[1, 2], [3, 5]])
    wanted = [VECTORS[[1, 2]].mean(0), VECTORS[[3, 5]].mean(0)]
    np.testing.assert_allclose([item.embedding for item in found.data], wanted, rtol=1e-6)
    plain = client.embeddings.create(model="vectors", input=[7], encoding_format="float")
    np.testing.assert_allclose(plain.data[0].embedding, VECTORS[7])
    assert (found.usage.prompt_tokens, plain.usage.total_tokens) == (4, 1)
    sized = client.embeddings.create(model="vectors", input=[7], dimensions=4)
    assert len(sized.data[0].embedding) == 4


@pytest.mark.parametrize(
    ("kind", "model", "more", "param"),
    [
        ("chat", "story", {"n": 2}, "n"),
        ("chat", "story", {"logprobs": True}, "logprobs"),
        ("chat", "story", {"presence_penalty": 0.5}, "presence_penalty"),
        ("chat", "story", {"temperature": 9}, "temperature"),
        ("chat", "story", {"extra_body": {"colour": "red"}}, "colour"),
        ("chat", "story", {"messages": [{"role": "judge", "content": "x"}]}, "messages"),
        ("chat", "story", {"max_tokens": 3, "max_completion_tokens": 3}, "max_tokens"),
        ("chat", "vectors", {}, "model"),
        ("completion", "story", {"prompt": [1, 2]}, "prompt"),
        ("completion", "story", {"prompt": "one " * 600}, "prompt"),
        ("completion", "narrow", {"max_tokens": 100}, "max_tokens"),
        ("embedding", "vectors", {"input": "text"}, "input"),
        ("embedding", "story", {"input": "text"}, "model"),
        ("embedding", "vectors", {"dimensions": 2}, "dimensions"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(client, kind, model, more, param):
    ask, given = {
        "chat": (client.chat.completions.create, {"messages": HELLO}),
        "completion": (client.completions.create, {"prompt": "one"}),
        "embedding": (client.embeddings.create, {"input": [[1]]}),
    }[kind]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(model=model, **given | more)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_who_leaves_stops_the_work(server):
    before = metric(server, "modelworks_generations", model="story", end="left")
    body = {"model": "story:backwards", "prompt": "ten. nine", "stream": True, "max_tokens": 400}
    left = 0
    for _ in range(10):  # the model may be done before we are gone
        connection = http.client.HTTPConnection(server.address, timeout=30)
        connection.request("POST", "/v1/completions", json.dumps(body | {"temperature": 0}))
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data: ")
        answer.close()
        connection.close()
        until(lambda: metric(server, "modelworks_generations_open", model="story") == 0)
        left = metric(server, "modelworks_generations", model="story", end="left") - before
        if left:
            break
    assert left
    made = metric(server, "modelworks_generation_tokens", model="story", direction="out")
    found = get(server, "/v2/models/story/ready")
    assert found[0] == 200
    assert made == metric(server, "modelworks_generation_tokens", model="story", direction="out")


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"engines.language.child" in command and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_a_killed_process_of_a_model_costs_what_was_under_way_and_comes_back(server, client):
    pids = children(server.pid)
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def answered():
        try:
            found = client.completions.create(model="story", prompt="one two", temperature=0)
        except openai.InternalServerError as error:
            assert error.status_code in {500, 503}
            return None
        return found.choices[0].text

    assert until(answered) == REST.removeprefix(" two")
    assert not set(children(server.pid)) & set(pids)
