"""What is asked: the three models, requests for them in each form, and whether answers are right.

The models are those of the comparison with other servers (`benchmarks/peers/models.py`): S, 100
boosted trees on 30 floats; M, a MobileNetV2 with random weights on 3x224x224 floats; T, MiniLM on
32 tokens. All lie in the cache after the first run.
"""

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers.models import Model, make

from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import Target, parse_target
from modelworks.protocol.oip.caller import build_request, read_response

NAME = "m"
ANSWER_S = 30


def cached(key):
    """A model, made once."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return make(key, home / "modelworks-benchmarks")


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are written.

    Attributes:
        binary: raw tensors behind a JSON head; False = JSON alone.
        short: numbers as our own client writes them, in no more digits than FP32 has; else as
            Python's `json` does, in those of FP64.
    """

    binary: bool
    short: bool = False

    def body(self, row):
        """A request for one row."""
        if self.binary or self.short:
            data, kind, headers = build_request(row, binary=self.binary)
            extra = tuple((name.decode(), value.decode()) for name, value in headers)
            return Body(data, kind.decode(), extra)
        entries = [
            {"name": name, "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
            for name, array in row.items()
        ]
        return Body(json.dumps({"inputs": entries}).encode())


JSON, BINARY, SHORT = Form(binary=False), Form(binary=True), Form(binary=False, short=True)


def requests(target: Target, model: Model, form: Form):
    """Whole requests, one a row of the model."""
    return [request_bytes(target, form.body(row)) for row in model.rows]


def target(url: str) -> Target:
    """Where a server's model is asked."""
    return parse_target(f"{url}/v2/models/{NAME}/infer")


def check(where: Target, model: Model, form: Form):
    """Every answer is onnxruntime's, before anything is timed."""
    connection = http.client.HTTPConnection(where.host, where.port, timeout=ANSWER_S)
    for row, wanted in zip(model.rows, model.answers, strict=True):
        body = form.body(row)
        headers = {"Content-Type": body.content_type, **dict(body.headers)}
        connection.request("POST", where.path, body.data, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{where.url}: {answer.status} {data[:200]!r}")
        length = answer.getheader("Inference-Header-Content-Length")
        found = read_response(data, int(length) if length else None).outputs
        for name, array in wanted.items():
            np.testing.assert_allclose(np.ravel(found[name]), array.ravel(), atol=model.tolerance)
    connection.close()


def check_sketch(where: Target, model: Model):
    """The sketch says no types and shapes truly: only its numbers are looked at."""
    connection = http.client.HTTPConnection(where.host, where.port, timeout=ANSWER_S)
    for row, wanted in list(zip(model.rows, model.answers, strict=True))[:50]:
        connection.request("POST", where.path, JSON.body(row).data)
        outputs = json.load(connection.getresponse())["outputs"]
        for found, array in zip(outputs, wanted.values(), strict=True):
            np.testing.assert_allclose(np.ravel(found["data"]), array.ravel(), atol=model.tolerance)
    connection.close()
