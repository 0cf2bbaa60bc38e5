"""KServe's first protocol: instances to rows, outputs to predictions; and as records read it."""

import json

import numpy as np
import pytest

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.protocol.kserve_v1 import decode_instances, encode_answers
from modelworks.protocol.records.bodies import BodyReader

pytestmark = pytest.mark.unit
X = TensorSpec("x", Datatype.FP32, (None, 2))
TABLE = Signature(
    (X,), (TensorSpec("y", Datatype.FP32, (None, 1)),), Layout.MATRIX, ("age", "income")
)
TWO = Signature(
    (X,),
    (TensorSpec("label", Datatype.BYTES, (None,)), TensorSpec("p", Datatype.FP32, (None, 2))),
)


def body(**told):
    return json.dumps(told).encode()


def test_instances_are_rows_as_lists_or_by_name():
    rows = [[41, 2.5], {"income": 1.0, "age": 7}]
    for more in ({}, {"signature_name": "serving_default"}):
        found = decode_instances(body(instances=rows, **more), TABLE)
        assert found.rows == 2
        assert found.inputs["x"].tolist() == [[41, 2.5], [7, 1]]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[[1, 2]]", "instances"),
        (body(rows=[[1, 2]]), "instances"),
        (body(instances={"x": 1}), "instances"),
        (body(instances=[]), "rows"),
        (body(instances=[[1]]), "rows[0]"),
        (body(instances=[[1, 2], [1, "a"]]), "rows[1].income"),
        (body(instances=[[1, 2]], signature_name="other"), "signature_name"),
        (body(instances=[[1, 2]], inputs=[1]), "inputs"),
    ],
)
def test_what_is_wrong_is_named(given, field):
    with pytest.raises(InvalidError) as told:
        decode_instances(given, TABLE)
    assert told.value.field == field


def test_more_rows_than_allowed_are_refused():
    with pytest.raises(InvalidError, match="at most 2"):
        decode_instances(body(instances=[[1, 2]] * 3), TABLE, 2)


def test_one_output_is_its_value_and_several_are_objects():
    assert json.loads(encode_answers(TABLE, [np.float32([[1.5], [np.nan]])])) == {
        "predictions": [1.5, None]
    }
    label = np.array([b"yes", b"no"], dtype=object)
    p = np.float32([[0.25, 0.75], [1, 0]])
    assert json.loads(encode_answers(TWO, [label, p])) == {
        "predictions": [{"label": "yes", "p": [0.25, 0.75]}, {"label": "no", "p": [1, 0]}]
    }
    with pytest.raises(CrashedError, match="numbers of rows"):
        encode_answers(TWO, [label[:1], p])


def test_records_read_instances_as_the_rows_that_they_are():
    reader = BodyReader(TABLE)
    asked = [[41, 2.5], [7, 1]]
    for told in (body(instances=asked), body(instances=asked, signature_name="serving_default")):
        assert reader.rows(told) == reader.rows(body(rows=asked))
    with pytest.raises(InvalidError):
        reader.rows(body(instances=[[1]]))
