"""The model as a user of Triton's Python backend writes it."""

import numpy as np
import triton_python_backend_utils as triton
from onnx_model import OnnxModel


class TritonPythonModel:
    """Called with the requests of one batch; they are run together."""

    def initialize(self, args):
        """Once in the backend's process."""
        del args
        self.model = OnnxModel()

    def execute(self, requests):
        """One answer a request."""
        parts = {
            name: [triton.get_input_tensor_by_name(each, name).as_numpy() for each in requests]
            for name in self.model.inputs
        }
        sizes = [len(each) for each in next(iter(parts.values()))]
        found = self.model.run({name: np.concatenate(values) for name, values in parts.items()})
        answers, start = [], 0
        for size in sizes:
            tensors = []
            for name, value in found.items():
                part = value[start : start + size]
                tensors.append(triton.Tensor(name, part.reshape(size, -1)))
            answers.append(triton.InferenceResponse(output_tensors=tensors))
            start += size
        return answers
