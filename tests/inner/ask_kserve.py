"""Asks a server by the KServe SDK, in the SDK's own environment: `ask_kserve.py HOST:PORT`.

Its models are `double` (x, 3 floats) and `echo-KIND`. Writes what it found as JSON.
"""

import asyncio
import json
import sys
import warnings

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402 - after the filter
from grpc.aio import AioRpcError  # noqa: E402 - after the filter
from kserve import (  # noqa: E402 - after the filter
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)

ADDRESS = sys.argv[1]
VALUES = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, 65504]], np.float16),
    "FP32": np.array([[0.1, -3.4e38]], np.float32),
    "FP64": np.array([[0.1, 1.7e308]], np.float64),
    "BYTES": np.array([["é".encode(), b""]], dtype=object),
}


def request(model, array, kind, *, binary, identity="r-1"):
    given = InferInput("x", list(array.shape), kind)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[given], request_id=identity)


def values(answer):
    [output] = answer.outputs
    array = output.as_numpy()
    return [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]


def same(answer, array):
    [output] = answer.outputs
    if array.dtype == object:
        return values(answer) == array.ravel().tolist()
    return np.array_equal(output.as_numpy(), array)


async def by_grpc(found):
    async with InferenceGRPCClient(ADDRESS) as client:
        found["live"] = await client.is_server_live()
        found["ready"] = await client.is_server_ready()
        found["model"] = await client.is_model_ready("double")
        found["nobody"] = await client.is_model_ready("nobody")
        for kind, array in VALUES.items():
            for binary in (True, False):
                if kind == "FP16" and not binary:
                    continue  # the protocol has no typed form of it
                asked = request(f"echo-{kind.lower()}", array, kind, binary=binary)
                answer = await client.infer(asked)
                found[f"grpc {kind} {binary}"] = same(answer, array) and answer.id == "r-1"
        try:
            await client.infer(request("nobody", VALUES["FP32"], "FP32", binary=True))
        except AioRpcError as error:
            found["refused"] = [error.code().name, error.details()]


async def by_rest(found):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://{ADDRESS}"
    found["rest live"] = await client.is_server_live(base)
    found["rest ready"] = await client.is_server_ready(base)
    found["rest model"] = await client.is_model_ready(base, "double")
    for kind, array in VALUES.items():
        for binary in (True, False):
            if kind == "FP16" and not binary:
                continue
            name = f"echo-{kind.lower()}"
            asked = request(name, array, kind, binary=binary)
            if kind == "FP16":
                asked.parameters = {"binary_data_output": True}
            answer = await client.infer(base, asked, model_name=name)
            found[f"rest {kind} {binary}"] = same(answer, array)
    await client.close()


async def by_v1(found):
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    base = f"http://{ADDRESS}"
    found["v1 model"] = await client.is_model_ready(base, "double")
    asked = {"instances": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}
    answer = await client.infer(base, asked, model_name="double")
    found["v1 predictions"] = answer["predictions"]
    await client.close()


async def main():
    found = {}
    await by_grpc(found)
    await by_rest(found)
    await by_v1(found)
    sys.stdout.write(f"{json.dumps(found)}\n")


asyncio.run(main())
