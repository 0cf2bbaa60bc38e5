"""Saves PEER_MODEL as an MLflow model: `python service.py FOLDER`."""

import os
import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from onnx_model import OnnxModel

model = OnnxModel()
inputs = [
    TensorSpec(np.dtype(kind), (-1, *shape), name) for name, (kind, shape) in model.inputs.items()
]
mlflow.onnx.save_model(
    onnx.load(os.environ["PEER_MODEL"]),
    sys.argv[1],
    signature=ModelSignature(inputs=Schema(inputs)),
    onnx_execution_providers=["CPUExecutionProvider"],
    onnx_session_options={
        "intra_op_num_threads": 1,
        "inter_op_num_threads": 1,
        "extra_session_config": {"session.intra_op.allow_spinning": "0"},
    },
)
