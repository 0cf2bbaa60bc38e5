"""The service as a user of pytriton writes it."""

import os

import numpy as np
from onnx_model import BATCH, OnnxModel
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = OnnxModel()
shapes = {
    each.name: (np.int64 if "int64" in each.type else np.float32, tuple(each.shape[1:]) or (1,))
    for each in model.session.get_outputs()
}


@batch
def infer(**arrays):
    """A batch in, a batch out."""
    found = model.run(arrays)
    return {name: value.reshape(len(value), *shapes[name][1]) for name, value in found.items()}


config = TritonConfig(
    http_address="127.0.0.1",
    http_port=int(os.environ["PEER_PORT"]),
    grpc_address="127.0.0.1",
    grpc_port=int(os.environ["PEER_GRPC"]),
    metrics_address="127.0.0.1",
    metrics_port=int(os.environ["PEER_METRICS"]),
)
with Triton(config=config) as triton:
    options = {"batcher": DynamicBatcher(max_queue_delay_microseconds=0)} if BATCH > 1 else {}
    triton.bind(
        model_name="m",
        infer_func=infer,
        inputs=[Tensor(name=n, dtype=k, shape=s) for n, (k, s) in model.inputs.items()],
        outputs=[Tensor(name=n, dtype=k, shape=s) for n, (k, s) in shapes.items()],
        config=ModelConfig(max_batch_size=max(BATCH, 1), **options),
    )
    triton.serve()
