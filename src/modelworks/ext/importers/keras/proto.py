"""TensorFlow's SavedModel messages, as much of them as is looked at, without TensorFlow.

Field numbers are those of tensorflow/core/protobuf and tensorflow/core/framework; whatever is not
listed is skipped by the parser.
"""

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "modelworks.saved_model"

# message -> (field, number, repeated, type: string or a message)
_MESSAGES: Final[dict[str, tuple[tuple[str, int, bool, str], ...]]] = {
    "SavedModel": (("meta_graphs", 2, True, "MetaGraph"),),
    "MetaGraph": (
        ("info", 1, False, "Info"),
        ("graph", 2, False, "Graph"),
        ("saver", 3, False, "Saver"),
        ("signatures", 5, True, "SignatureEntry"),
        ("assets", 6, True, "Asset"),
        ("objects", 7, False, "Objects"),
    ),
    "Info": (("tags", 4, True, "string"), ("version", 5, False, "string")),
    "Graph": (("nodes", 1, True, "Node"), ("library", 2, False, "Library")),
    "Library": (("functions", 1, True, "Function"),),
    "Function": (("about", 1, False, "About"), ("nodes", 3, True, "Node")),
    "About": (("name", 1, False, "string"),),
    "Node": (
        ("name", 1, False, "string"),
        ("op", 2, False, "string"),
        ("inputs", 3, True, "string"),
        ("attributes", 5, True, "AttributeEntry"),
    ),
    "AttributeEntry": (("key", 1, False, "string"), ("value", 2, False, "Attribute")),
    "Attribute": (("list", 1, False, "Values"), ("function", 10, False, "About")),
    "Values": (("functions", 9, True, "About"),),
    "Saver": (
        ("filename", 1, False, "string"),
        ("save", 2, False, "string"),
        ("restore", 3, False, "string"),
    ),
    "SignatureEntry": (("key", 1, False, "string"), ("value", 2, False, "Signature")),
    "Signature": (("outputs", 2, True, "TensorEntry"),),
    "TensorEntry": (("key", 1, False, "string"), ("value", 2, False, "Tensor")),
    "Tensor": (("name", 1, False, "string"),),
    "Asset": (("tensor", 1, False, "Tensor"), ("filename", 2, False, "string")),
    "Objects": (("functions", 2, True, "ConcreteEntry"),),
    "ConcreteEntry": (("key", 1, False, "string"),),
}


@cache
def saved_model() -> Any:
    """The message class of `saved_model.pb`."""
    file = descriptor_pb2.FileDescriptorProto(
        name="modelworks_saved_model.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, repeated, kind in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            entry = message.field.add(name=field, number=number, label=label)
            if kind == "string":
                entry.type = _FIELD.TYPE_STRING
            else:
                entry.type, entry.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.SavedModel")
    return message_factory.GetMessageClass(descriptor)
