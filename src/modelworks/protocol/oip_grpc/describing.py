"""How messages are described: fields by number, name and kind, as lines of text.

One description serves the codec and server reflection, so what is told is what is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCALARS: Final = frozenset(
    {"bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64"}
)


class Label(StrEnum):
    """How often a field may stand in its message."""

    ONE = "one"
    MANY = "many"
    MAP = "map"  # from strings


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        number: on the wire.
        name: of it.
        kind: one of `SCALARS`, or the full name of a message or an enum.
        label: how often.
        oneof: group of fields of which one is set; such a field is written where it has its
            default too.
    """

    number: int
    name: str
    kind: str
    label: Label = Label.ONE
    oneof: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, by full name: `inference.ModelInferRequest.InferInputTensor`."""

    name: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Enum:
    """Names in the order of their numbers, from 0 on."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """One call; the messages by full name."""

    name: str
    takes: str
    gives: str
    takes_many: bool = False
    gives_many: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A service, by full name."""

    name: str
    methods: tuple[Method, ...]

    def paths(self) -> Iterator[tuple[bytes, Method]]:
        """What calls name on the wire."""
        for method in self.methods:
            yield f"/{self.name}/{method.name}".encode(), method


@dataclass(frozen=True, slots=True)
class File:
    """What reflection tells as one file.

    Attributes:
        name: of the file.
        package: that its names begin with.
        messages: nested ones too, behind the one that they are in.
        enums: of it.
        services: of it.
        needs: files whose names it uses.
    """

    name: str
    package: str
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...] = ()
    services: tuple[Service, ...] = ()
    needs: tuple[str, ...] = ()

    def known(self) -> Iterator[str]:
        """Every name that it defines."""
        yield from (each.name for each in self.messages)
        yield from (each.name for each in self.enums)
        yield from (each.name for each in self.services)
        for service in self.services:
            yield from (f"{service.name}.{method.name}" for method in service.methods)
        for message in self.messages:
            yield from (f"{message.name}.{item.name}" for item in message.fields)


def message(name: str, *lines: str) -> Message:
    """A message of lines such as `4 shape int64*`.

    Args:
        name: full.
        lines: number, name, kind; behind the kind `*` = many, `%` = a map from strings; then, in
            brackets, the group of which one field is set. Kinds that begin with a dot are of the
            message itself, others that are no scalars of its package.
    """
    package = name.split(".")[:-1]
    while len(package) > 1 and package[-1][:1].isupper():
        package.pop()
    fields = []
    for line in lines:
        number, own, kind, *rest = line.split()
        label = {"*": Label.MANY, "%": Label.MAP}.get(kind[-1], Label.ONE)
        kind = kind.rstrip("*%")
        if kind.startswith("."):
            kind = f"{name}{kind}"
        elif kind not in SCALARS:
            kind = f"{'.'.join(package)}.{kind}"
        oneof = rest[0].strip("()") if rest else ""
        fields.append(Field(int(number), own, kind, label, oneof))
    return Message(name, tuple(fields))


class Types:
    """Messages and enums by full name."""

    def __init__(self, *files: File) -> None:
        self.messages: Mapping[str, Message] = {m.name: m for file in files for m in file.messages}
        self.enums: Mapping[str, Enum] = {e.name: e for file in files for e in file.enums}
        self.numbers: Mapping[str, Mapping[int, Field]] = {
            name: {field.number: field for field in found.fields}
            for name, found in self.messages.items()
        }
