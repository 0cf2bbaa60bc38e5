"""tritonclient's gRPC clients for tests: connected, and closed without a word."""

import contextlib
import warnings

import numpy as np

from modelworks.core.tensor import Datatype

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

VALUES = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, 65504],
    "FP32": [0.1, -3.4e38],
    "FP64": [0.1, 1.7e308],
    "BF16": [0.5, -2.0],
    "BYTES": ["é中".encode(), b""],
}
KINDS = [str(kind) for kind in Datatype]


@contextlib.contextmanager
def connected(address, **options):
    client = triton.InferenceServerClient(address, **options)
    try:
        yield client
    finally:
        client.close()


def ones(value=1.0, rows=1, name="x"):
    """An input of three floats a row."""
    given = triton.InferInput(name, [rows, 3], "FP32")
    given.set_data_from_numpy(np.full((rows, 3), value, np.float32))
    return given


def refused(call):
    """Status and message of a call that is refused."""
    try:
        call()
    except InferenceServerException as error:
        return error.status(), error.message()
    raise AssertionError("it was not refused")
