"""The datatypes of tensors as ONNX numbers them (`TensorProto.DataType` of onnx.proto)."""

from typing import Final

from modelworks.core.tensor import Datatype

ELEMENTS: Final = {
    Datatype.FP32: 1,
    Datatype.UINT8: 2,
    Datatype.INT8: 3,
    Datatype.UINT16: 4,
    Datatype.INT16: 5,
    Datatype.INT32: 6,
    Datatype.INT64: 7,
    Datatype.BYTES: 8,
    Datatype.BOOL: 9,
    Datatype.FP16: 10,
    Datatype.FP64: 11,
    Datatype.UINT32: 12,
    Datatype.UINT64: 13,
}
"""Of graphs that are written here; BF16 is not among them, for NumPy cannot make its constants."""
