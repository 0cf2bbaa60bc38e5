"""TensorFlow, imported without its chatter and with no more threads than a job may use."""

import logging
import os
import warnings
from typing import Any

import numpy as np

# Read once, while TensorFlow is imported: no messages of its C++ part, Keras on TensorFlow.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
logging.getLogger("tensorflow").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"(tensorflow|keras|tf_keras|tf2onnx)(\..*)?$")

import tensorflow as tf  # noqa: E402 - after its settings

from modelworks.core.tensor import Datatype  # noqa: E402 - the same

__all__ = ["DATATYPES", "DTYPES", "array", "tensor", "tf"]

THREADS = 2
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
tf.config.threading.set_intra_op_parallelism_threads(THREADS)

DATATYPES: dict[Any, Datatype] = {
    tf.bool: Datatype.BOOL,
    tf.uint8: Datatype.UINT8,
    tf.uint16: Datatype.UINT16,
    tf.uint32: Datatype.UINT32,
    tf.uint64: Datatype.UINT64,
    tf.int8: Datatype.INT8,
    tf.int16: Datatype.INT16,
    tf.int32: Datatype.INT32,
    tf.int64: Datatype.INT64,
    tf.float16: Datatype.FP16,
    tf.float32: Datatype.FP32,
    tf.float64: Datatype.FP64,
    tf.bfloat16: Datatype.BF16,
    tf.string: Datatype.BYTES,
}
DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def tensor(array: Any, datatype: Datatype) -> Any:
    """An array of the protocol's conventions as a tensor."""
    if datatype is Datatype.BF16:
        return tf.bitcast(tf.constant(np.ascontiguousarray(array), tf.uint16), tf.bfloat16)
    if datatype is Datatype.BYTES:
        array = np.asarray(array, dtype=object)
        return tf.reshape(tf.constant(array.ravel().tolist(), tf.string), array.shape)
    return tf.constant(np.ascontiguousarray(array), DTYPES[datatype])


def array(value: Any) -> Any:
    """A tensor as an array of the protocol's conventions: BF16 as bits, text as bytes objects."""
    if value.dtype == tf.bfloat16:
        return tf.bitcast(value, tf.uint16).numpy()
    found = value.numpy()
    return np.asarray(found, dtype=object) if value.dtype == tf.string else np.asarray(found)
