"""The runtime as a user of MLServer writes it."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Runtime(MLModel):
    """Tensors in, tensors out."""

    async def load(self) -> bool:
        """Called once."""
        self.model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One request, or a batch that MLServer put together."""
        arrays = {
            each.name: NumpyCodec.decode_input(each).astype(self.model.inputs[each.name][0])
            for each in payload.inputs
        }
        outputs = [
            NumpyCodec.encode_output(name, value) for name, value in self.model.run(arrays).items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
