"""The service as a user of BentoML writes it: an API for arrays, one for bytes as base64."""

import base64
import os
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType
from onnx_model import BATCH, OnnxModel, octets

KIND = "int64" if os.environ["PEER_KEY"] == "T" else "float32"
Rows = Annotated[np.ndarray, DType(KIND)]


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    """Rows in, outputs side by side."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    @bentoml.api(batchable=BATCH > 1, max_batch_size=max(BATCH, 2))
    def predict(self, rows: Rows) -> np.ndarray:
        """A model of several inputs has them in the second axis."""
        names = list(self.model.inputs)
        arrays = {names[0]: rows}
        if len(names) > 1:
            arrays = {name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(names)}
        found = self.model.run(arrays)
        return np.concatenate([each.reshape(len(rows), -1) for each in found.values()], axis=1)

    @bentoml.api(batchable=BATCH > 1, max_batch_size=max(BATCH, 2))
    def predict_bytes(self, rows: list[str]) -> list[str]:
        """Each row's inputs as base64, each answer's outputs too."""
        found = self.model.run_rows([self.model.row_of_bytes(base64.b64decode(r)) for r in rows])
        return [base64.b64encode(octets(each)).decode() for each in found]
