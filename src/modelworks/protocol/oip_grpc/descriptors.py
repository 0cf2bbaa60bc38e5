"""Descriptions as `FileDescriptorProto`, which is how server reflection tells them."""

from typing import Any, Final

from modelworks.protocol.oip_grpc.codec import Codec
from modelworks.protocol.oip_grpc.describing import (
    SCALARS,
    Field,
    File,
    Label,
    Message,
    Types,
    message,
)

_P: Final = "google.protobuf"
_NUMBERS: Final = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
"""`FieldDescriptorProto.Type`."""
_MESSAGE: Final = 11
_ENUM: Final = 14
_OPTIONAL: Final = 1
_REPEATED: Final = 3
_CODEC: Final = Codec(
    Types(
        File(
            "google/protobuf/descriptor.proto",
            _P,
            (
                message(
                    f"{_P}.FileDescriptorProto",
                    *("1 name string", "2 package string", "3 dependency string*"),
                    *("4 message_type DescriptorProto*", "5 enum_type EnumDescriptorProto*"),
                    *("6 service ServiceDescriptorProto*", "12 syntax string"),
                ),
                message(
                    f"{_P}.DescriptorProto",
                    *("1 name string", "2 field FieldDescriptorProto*"),
                    *("3 nested_type DescriptorProto*", "4 enum_type EnumDescriptorProto*"),
                    *("7 options MessageOptions", "8 oneof_decl OneofDescriptorProto*"),
                ),
                message(f"{_P}.MessageOptions", "7 map_entry bool"),
                message(f"{_P}.OneofDescriptorProto", "1 name string"),
                message(
                    f"{_P}.FieldDescriptorProto",
                    *("1 name string", "3 number int32", "4 label int32", "5 type int32"),
                    # Group 0 is written too.
                    *("6 type_name string", "9 oneof_index int32 (set)", "10 json_name string"),
                ),
                message(
                    f"{_P}.EnumDescriptorProto",
                    "1 name string",
                    "2 value EnumValueDescriptorProto*",
                ),
                message(f"{_P}.EnumValueDescriptorProto", "1 name string", "2 number int32 (set)"),
                message(
                    f"{_P}.ServiceDescriptorProto",
                    *("1 name string", "2 method MethodDescriptorProto*"),
                ),
                message(
                    f"{_P}.MethodDescriptorProto",
                    *("1 name string", "2 input_type string", "3 output_type string"),
                    *("5 client_streaming bool", "6 server_streaming bool"),
                ),
            ),
        )
    )
)


def file_descriptor(file: File) -> bytes:
    """The `FileDescriptorProto` of a file."""
    top = [found for found in file.messages if _parent(found.name) == file.package]
    document = {
        "name": file.name,
        "package": file.package,
        "dependency": list(file.needs),
        "message_type": [_message(file, found) for found in top],
        "enum_type": _enums(file, file.package),
        "service": [
            {
                "name": _last(service.name),
                "method": [
                    {
                        "name": method.name,
                        "input_type": f".{method.takes}",
                        "output_type": f".{method.gives}",
                        "client_streaming": method.takes_many,
                        "server_streaming": method.gives_many,
                    }
                    for method in service.methods
                ],
            }
            for service in file.services
        ],
        "syntax": "proto3",
    }
    return _CODEC.encode(f"{_P}.FileDescriptorProto", document)


def _message(file: File, found: Message) -> dict[str, Any]:
    groups = list(dict.fromkeys(field.oneof for field in found.fields if field.oneof))
    enums = {enum.name for enum in file.enums}
    nested = [_message(file, each) for each in file.messages if _parent(each.name) == found.name]
    maps = [field for field in found.fields if field.label is Label.MAP]
    return {
        "name": _last(found.name),
        "field": [_field(field, found.name, groups, enums) for field in found.fields],
        "nested_type": [*nested, *(_entry(field, enums) for field in maps)],
        "enum_type": _enums(file, found.name),
        "oneof_decl": [{"name": group} for group in groups],
    }


def _field(field: Field, of: str, groups: list[str], enums: set[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": field.name,
        "number": field.number,
        "label": _OPTIONAL if field.label is Label.ONE else _REPEATED,
        "json_name": _camel(field.name),
    }
    if field.label is Label.MAP:
        document |= {"type": _MESSAGE, "type_name": f".{of}.{_entry_name(field)}"}
    elif field.kind in SCALARS:
        document["type"] = _NUMBERS[field.kind]
    else:
        kind = _ENUM if field.kind in enums else _MESSAGE
        document |= {"type": kind, "type_name": f".{field.kind}"}
    if field.oneof:
        document["oneof_index"] = groups.index(field.oneof)
    return document


def _entry(field: Field, enums: set[str]) -> dict[str, Any]:
    """The message that stands for an entry of a map."""
    pair = (Field(1, "key", "string"), Field(2, "value", field.kind))
    return {
        "name": _entry_name(field),
        "field": [_field(each, "", [], enums) for each in pair],
        "options": {"map_entry": True},
    }


def _enums(file: File, of: str) -> list[dict[str, Any]]:
    return [
        {
            "name": _last(enum.name),
            "value": [{"name": name, "number": at} for at, name in enumerate(enum.values)],
        }
        for enum in file.enums
        if _parent(enum.name) == of
    ]


def _entry_name(field: Field) -> str:
    return "".join(part.capitalize() for part in field.name.split("_")) + "Entry"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
