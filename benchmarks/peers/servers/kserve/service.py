"""The model as a user of KServe's Python server writes it."""

import argparse

import kserve
import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer
from onnx_model import OnnxModel, octets

NAMES = {"float32": "FP32", "int64": "INT64"}


class Loopback(uvicorn.Config):
    """KServe listens on every address and has no option for one."""

    def __init__(self, app, host=None, **options) -> None:
        del host
        super().__init__(app, host="127.0.0.1", **options)


class Served(Model):
    """Tensors in, tensors out; bytes in, bytes out."""

    def __init__(self) -> None:
        super().__init__("m")
        self.model = OnnxModel()
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """One request."""
        del headers, response_headers
        if isinstance(payload, bytes):
            [found] = self.model.run_rows([self.model.row_of_bytes(payload)])
            return octets(found)
        arrays = {
            each.name: each.as_numpy().astype(self.model.inputs[each.name][0], copy=False)
            for each in payload.inputs
        }
        outputs = []
        for name, value in self.model.run(arrays).items():
            output = InferOutput(name, list(value.shape), NAMES[value.dtype.name])
            output.set_data_from_numpy(value, binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id, "m", outputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.parse_known_args()
    uvicorn.Config = Loopback
    ModelServer(enable_grpc=False, access_log_format=None).start([Served()])
