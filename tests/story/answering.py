"""The story's part on other answers: a text that comes in pieces, a graph, a job; by every wire."""

import json

import numpy as np
import openai
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from desk import HTTP, Desk, get
from tiny_decoder import tiny_decoder

GRAPH = """\
apiVersion: modelworks/v1
kind: Graph
metadata: {name: both}
spec:
  inputs:
    - numbers
  steps:
    - {name: who, model: trees, inputs: {X: $input.numbers}}
    - {name: worth, model: light, inputs: {X: $input.numbers}}
  outputs:
    label: steps.who.label
    score: steps.worth.score
"""
REST = " two three four five six seven eight nine ten."


def answer_in_other_ways(desk: Desk) -> None:
    """A language model told through OpenAI's client, two models as one, and one asked later."""
    tiny_decoder(desk.folder / "teller")
    assert desk.mw("import", "teller", "--name", "teller").out == "teller:1.0.0\n"
    (desk.folder / "both.yaml").write_text(GRAPH.replace("worth,", "worth, colour: red,"))
    assert "colour" in desk.mw("graph", "check", "both.yaml", code=4).err
    (desk.folder / "both.yaml").write_text(GRAPH)
    desk.mw("graph", "check", "both.yaml")
    assert "both:1.0.0" in desk.mw("graph", "add", "both.yaml").out
    jobs = ("--jobs", str(desk.folder / "jobs"))
    with desk.running("serve", "teller", "both", "--port", "0", *jobs) as server:
        url = server.said["url"]
        _tell(url)
        told = desk.mw("generate", "teller", "one", "--temperature", "0", "--url", url).out
        assert told.strip() == REST.strip(), told
        _ask_every_way(desk, url)
        server.drain()


def _tell(url: str) -> None:
    """Pieces come as they are made."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        assert "teller" in [one.id for one in client.models.list()]
        asked = {"model": "teller", "messages": [{"role": "user", "content": "hello"}]}
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**asked, stream=True, temperature=0)
            if chunk.choices
        ]
        assert "".join(pieces) == REST
        assert len([one for one in pieces if one]) > 1
    assert "modelworks_generation" in get(f"{url}/metrics")


def _ask_every_way(desk: Desk, url: str) -> None:
    """The same rows as JSON, binary tensors, gRPC, a graph and a job: the same numbers."""
    rows = desk.notes["numbers"]
    address = url.removeprefix("http://")

    def of(kind, client, model, name):
        asked = kind.InferInput(name, list(rows.shape), "FP32")
        asked.set_data_from_numpy(rows)
        return client.infer(model, [asked])

    with triton_http.InferenceServerClient(address) as client:
        label = of(triton_http, client, "trees", "X").as_numpy("label")
        score = of(triton_http, client, "light", "X").as_numpy("score")
    assert label.tolist() == desk.notes["trees"]
    assert np.allclose(score.ravel(), desk.notes["light"], rtol=1e-4)
    with triton_grpc.InferenceServerClient(address) as client:
        found = of(triton_grpc, client, "both", "numbers")
        assert np.array_equal(found.as_numpy("label"), label)
        assert np.array_equal(found.as_numpy("score"), score)
    document = {
        "inputs": [
            {
                "name": "numbers",
                "datatype": "FP32",
                "shape": list(rows.shape),
                "data": rows.ravel().tolist(),
            }
        ]
    }
    body = json.dumps(document)
    answer = HTTP.request("POST", f"{url}/v2/models/both/infer", body=body).json()
    plain = {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}
    inputs = json.dumps({"numbers": rows.tolist()})
    later = desk.mw("jobs", "submit", "both", "--inputs", inputs, "--wait", "60", "--url", url).json
    for outputs in (plain, later):
        assert np.array_equal(outputs["label"], label)
        assert np.array_equal(np.float32(outputs["score"]), score)
    states = [one["state"] for one in desk.mw("jobs", "list", "--url", url, "--json").json]
    assert states == ["done"]
