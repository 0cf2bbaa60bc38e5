"""The model as every service file sees it, inside a peer's environment: numpy and onnxruntime."""

import os

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
BATCH = int(os.environ.get("PEER_BATCH", "1"))
"""The largest batch worth making for this model on one core; 1: batching does not pay."""


class OnnxModel:
    """One session with one thread, and what its tensors look like."""

    def __init__(self, path=None):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = path or os.environ["PEER_MODEL"]
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = {
            each.name: (TYPES[each.type], tuple(each.shape[1:]))
            for each in self.session.get_inputs()
        }
        self.outputs = [each.name for each in self.session.get_outputs()]

    def run(self, arrays):
        """Arrays by name, each [n, ...], to outputs by name, each [n, ...]."""
        return dict(zip(self.outputs, self.session.run(None, arrays), strict=True))

    def run_rows(self, rows):
        """A batch: rows without a first axis in, outputs without a first axis out."""
        found = self.run({name: np.stack([row[name] for row in rows]) for name in self.inputs})
        return [{name: found[name][i] for name in self.outputs} for i in range(len(rows))]

    def row(self, values):
        """Nested lists by name to arrays, no first axis."""
        return {
            name: np.asarray(values[name], kind).reshape(shape)
            for name, (kind, shape) in self.inputs.items()
        }

    def row_of_bytes(self, body):
        """The inputs' bytes one after the other to arrays, no first axis."""
        found, start = {}, 0
        for name, (kind, shape) in self.inputs.items():
            size = int(np.prod(shape))
            found[name] = np.frombuffer(body, kind, size, start).reshape(shape)
            start += found[name].nbytes
        return found


def lists(row):
    """Arrays by name to nested lists by name."""
    return {name: np.asarray(value).tolist() for name, value in row.items()}


def octets(row):
    """Arrays by name to their bytes, one after the other."""
    return b"".join(np.ascontiguousarray(value).tobytes() for value in row.values())
