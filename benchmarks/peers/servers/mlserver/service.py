"""The runtime as a user of MLServer writes it."""

from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel, octets


class Runtime(MLModel):
    """Tensors in, tensors out."""

    async def load(self) -> bool:
        """Called once."""
        self.model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One request, or a batch that MLServer put together."""
        if payload.inputs[0].name == "bytes":
            bodies = Base64Codec.decode_input(payload.inputs[0])
            found = self.model.run_rows([self.model.row_of_bytes(each) for each in bodies])
            answer = Base64Codec.encode_output("bytes", [octets(each) for each in found])
            return InferenceResponse(model_name=self.name, outputs=[answer])
        arrays = {
            each.name: NumpyCodec.decode_input(each).astype(self.model.inputs[each.name][0])
            for each in payload.inputs
        }
        outputs = [
            NumpyCodec.encode_output(name, value) for name, value in self.model.run(arrays).items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
