"""Which model a path asks, the same for another model, and the field that keeps a caller."""

from types import SimpleNamespace

import orjson
import pytest

from modelworks.protocol.routes.fields import parameter_of
from modelworks.protocol.routes.paths import asked, written

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("path", "found", "other"),
    [
        (b"/v2/models/m", ("m", "", "", "v2"), b"/v2/models/n/versions/2"),
        (b"/v2/models/m/infer", ("m", "", "/infer", "v2"), b"/v2/models/n/versions/2/infer"),
        (b"/v2/models/m@a/infer", ("m@a", "", "/infer", "v2"), b"/v2/models/n/versions/2/infer"),
        (b"/v2/models/%6d/infer", ("m", "", "/infer", "v2"), b"/v2/models/n/versions/2/infer"),
        (b"/v2/models/a%2Fb/ready", ("a/b", "", "/ready", "v2"), b"/v2/models/n/versions/2/ready"),
        (b"/v2/models/m/versions/1/x", ("m", "1", "/x", "v2"), b"/v2/models/n/versions/2/x"),
        (b"/%762/model%73/m/infer", ("m", "", "/infer", "v2"), b"/v2/models/n/versions/2/infer"),
        (b"/v2/models/m/version%73/1/x", ("m", "1", "/x", "v2"), b"/v2/models/n/versions/2/x"),
        (b"/%70redict/m", ("m", "", "", "predict"), b"/predict/n:2"),
        (b"/predict/m", ("m", "", "", "predict"), b"/predict/n:2"),
        (b"/predict/m:1", ("m", "1", "", "predict"), b"/predict/n:2"),
        (b"/v1/models/m:predict", ("m", "", ":predict", "v1"), b"/v1/models/n:predict"),
        (b"/v2/models/", None, None),
        (b"/v2/models", None, None),
        (b"/v2/health/ready", None, None),
        (b"/predict/", None, None),
        (b"/metrics", None, None),
        (b"*", None, None),
        (b"//v2/models/m", None, None),
        (b"/V2/models/m", None, None),
    ],
)
def test_paths(path, found, other):
    said = asked(path)
    assert (tuple(said) if said else None) == found
    if said:
        assert written(said, "n", "2") == other
        assert asked(written(said, "", "")) == said


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"parameters": {"user": "joe"}, "inputs": []}', "joe"),
        (b'{"parameters": {"user": 7}}', "7"),
        (b'{"parameters": {"user": 7.5}}', None),
        (b'{"parameters": {"user": {"a": 1}}}', None),
        (b'{"parameters": {}}', None),
        (b'{"parameters": []}', None),
        (b'{"inputs": []}', None),
        (b"[]", None),
        (b"", None),
        (b"{", None),
        (b"\xff\x00", None),
        ('{"parameters": {"user": "王"}}'.encode(), "王"),
    ],
)
def test_a_field_of_the_body(body, value):
    assert parameter_of(SimpleNamespace(headers={}, body=body), "user") == value
    assert parameter_of(SimpleNamespace(headers={}, body=body), "") is None


def test_a_field_of_a_body_with_raw_tensors():
    text = orjson.dumps({"parameters": {"user": "joe"}})
    head = {b"inference-header-content-length": b"%d" % len(text)}
    body = SimpleNamespace(headers=head, body=b"  " + text + b"\0\1\2")
    head[b"inference-header-content-length"] = b"%d" % (len(text) + 2)
    assert parameter_of(body, "user") == "joe"
    head[b"inference-header-content-length"] = b"no"
    assert parameter_of(body, "user") is None
