"""What tritonclient writes is read, and what is written it reads: every datatype, both forms."""

import numpy as np
import pytest

from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.protocol.oip import decode_request, encode_response
from modelworks.protocol.tensors import DTYPES

triton = pytest.importorskip("tritonclient.http")
ml_dtypes = pytest.importorskip("ml_dtypes")

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of tritonclient's own imports
]

SAMPLES = {
    Datatype.BOOL: [[True, False], [False, True]],
    Datatype.FP16: [[1.5, -2], [0, 65504]],
    Datatype.FP32: [[1.5, -2], [0, 3e38]],
    Datatype.FP64: [[1.5, -2], [0, 1e300]],
    Datatype.BF16: [[1.5, -2], [0, 1]],
    Datatype.BYTES: [[b"a", b""], ["ö".encode(), b"bcd"]],
} | {t: [[0, 1], [2, np.iinfo(DTYPES[t]).max]] for t in Datatype if "INT" in t}


def sample(datatype: Datatype):
    if datatype is Datatype.BF16:  # the client's own type; the house keeps bit patterns
        given = np.array(SAMPLES[datatype], ml_dtypes.bfloat16)
        return given, given.view(np.uint16)
    array = np.array(SAMPLES[datatype], DTYPES[datatype])
    return array, array


def asked(datatype: Datatype, given, *, binary: bool, **more):
    item = triton.InferInput("x", list(given.shape), str(datatype))
    item.set_data_from_numpy(given, binary_data=binary)
    return triton.InferenceServerClient.generate_request_body([item], **more)


FORMS = [(datatype, True) for datatype in Datatype] + [
    (datatype, False) for datatype in Datatype if datatype not in {"FP16", "BF16"}
]


@pytest.mark.parametrize(("datatype", "binary"), FORMS)
def test_there_and_back(datatype, binary):
    given, ours = sample(datatype)
    spec = TensorSpec("x", datatype, (None, None))
    signature = Signature((spec,), (TensorSpec("y", datatype, (None, None)),))
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    body, length = asked(datatype, given, binary=binary, outputs=[wanted], request_id="r")
    request = decode_request(body, length, signature)
    np.testing.assert_array_equal(request.inputs["x"], ours)
    body, _, headers = encode_response("m", "1.0.0", request, [ours], signature)
    length = int(headers[0][1]) if headers else None
    answer = triton.InferenceServerClient.parse_response_body(body, header_length=length)
    found = answer.as_numpy("y")
    if datatype is Datatype.BYTES and not binary:  # as text in JSON
        found = np.vectorize(str.encode, otypes=[object])(found)
    np.testing.assert_array_equal(found, given)
    assert answer.get_response()["id"] == "r"


def test_no_outputs_named_means_all_in_binary():
    given, _ = sample(Datatype.FP32)
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, (None, None)),),
        (
            TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),
            TensorSpec("y", Datatype.FP32, (None, None)),
        ),
    )
    body, length = asked(Datatype.FP32, given, binary=True, priority=3, timeout=1000)
    request = decode_request(body, length, signature)
    assert (request.priority, request.timeout_us, request.binary_output) == (3, 1000, True)
    body, _, headers = encode_response("m", "1.0.0", request, [np.arange(2), given], signature)
    answer = triton.InferenceServerClient.parse_response_body(
        body, header_length=int(headers[0][1])
    )
    np.testing.assert_array_equal(answer.as_numpy("label"), [0, 1])
    np.testing.assert_array_equal(answer.as_numpy("y"), given)


@pytest.mark.parametrize("binary", [True, False])
def test_classification(binary):
    signature = Signature(
        (TensorSpec("x", Datatype.FP32, (None, None)),),
        (TensorSpec("y", Datatype.FP32, (None, 2)),),
        classes=("cat", "dog"),
    )
    given, _ = sample(Datatype.FP32)
    wanted = triton.InferRequestedOutput("y", binary_data=binary, class_count=1)
    body, length = asked(Datatype.FP32, given, binary=True, outputs=[wanted])
    request = decode_request(body, length, signature)
    table = np.array([[0.25, 0.75], [1, 0]], np.float32)
    body, _, headers = encode_response("m", "1.0.0", request, [table], signature)
    length = int(headers[0][1]) if headers else None
    answer = triton.InferenceServerClient.parse_response_body(body, header_length=length)
    found = [
        item if isinstance(item, bytes) else item.encode() for item in answer.as_numpy("y").ravel()
    ]
    assert found == [b"0.750000:1:dog", b"1.000000:0:cat"]
