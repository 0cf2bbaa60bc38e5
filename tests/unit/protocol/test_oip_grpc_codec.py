"""Our codec beside Google's: descriptions, every kind of field both ways, damaged bytes."""

import struct
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.protocol.oip_grpc import beside, inference
from modelworks.protocol.oip_grpc.codec import Codec
from modelworks.protocol.oip_grpc.describing import File, Message, Types, message
from modelworks.protocol.oip_grpc.descriptors import file_descriptor
from modelworks.protocol.oip_grpc.wire import read_varint, scan, varint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.descriptor import FieldDescriptor
    from grpc_health.v1 import health_pb2
    from grpc_reflection.v1alpha import reflection_pb2
    from tritonclient.grpc import model_config_pb2, service_pb2

pytestmark = pytest.mark.unit

REQUEST = "inference.ModelInferRequest"
THEIRS = [service_pb2, model_config_pb2, health_pb2, reflection_pb2]
ROBUST = settings(max_examples=50, deadline=None)


def pool_of(*files: File):
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file_descriptor(file))
    return pool


def their_messages():
    found = {}

    def add(described):
        found[described.full_name] = described
        for nested in described.nested_types:
            add(nested)

    for module in THEIRS:
        for described in module.DESCRIPTOR.message_types_by_name.values():
            add(described)
    return found


def facts(field):
    kind = field.message_type or field.enum_type
    return (
        field.name,
        field.number,
        field.type,
        field.is_repeated,
        kind.full_name if kind is not None else "",
        field.containing_oneof.name if field.containing_oneof else "",
    )


def the_files():
    return (inference.FILE, beside.HEALTH, *beside.REFLECTIONS)


@pytest.mark.parametrize("file", the_files(), ids=lambda file: file.name)
def test_every_field_is_described_as_their_stubs_describe_it(file):
    pool, theirs = pool_of(file), their_messages()
    checked = 0
    for ours in file.messages:
        other = theirs.get(ours.name)
        if other is None:
            assert ours.name.startswith("grpc.reflection.v1."), ours.name  # v1alpha's twin
            continue
        wanted = {field.name: facts(field) for field in other.fields}
        for field in pool.FindMessageTypeByName(ours.name).fields:
            assert facts(field) == wanted[field.name]
            checked += 1
    assert checked > 1 or file.package == "grpc.reflection.v1"


def test_the_two_versions_of_reflection_say_the_same():
    one, two = beside.REFLECTIONS
    assert [m.name.replace(".v1.", ".v1alpha.") for m in one.messages] == [
        m.name for m in two.messages
    ]


def test_every_call_takes_and_gives_what_their_stubs_say():
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    (service,) = inference.FILE.services
    for method in service.methods:
        other = theirs.methods_by_name[method.name]
        assert (method.takes, method.gives) == (
            other.input_type.full_name,
            other.output_type.full_name,
        )
        assert (method.takes_many, method.gives_many) == (
            other.client_streaming,
            other.server_streaming,
        )


def test_enums_have_their_numbers():
    for ours in (*inference.FILE.enums, *beside.HEALTH.enums):
        pool = descriptor_pool.Default()
        theirs = pool.FindEnumTypeByName(ours.name)
        for at, name in enumerate(ours.values):
            assert theirs.values_by_name[name].number == at


# -- every kind of field, both ways, against Google's own

KINDS = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    "bytes": st.binary(max_size=9),
}
ALL = File(
    "all.proto",
    "t",
    (
        message(
            "t.All",
            *(f"{at + 1} one_{kind} {kind}" for at, kind in enumerate(KINDS)),
            *(f"{at + 20} many_{kind} {kind}*" for at, kind in enumerate(KINDS)),
            *(f"{at + 300} map_{kind} {kind}%" for at, kind in enumerate(KINDS)),
            "5000 all All",
            "5001 alls All*",
            "6000 this int32 (choice)",
            "6001 that string (choice)",
        ),
    ),
)
CODEC = Codec(Types(ALL))
THEIR_ALL = message_factory.GetMessageClass(pool_of(ALL).FindMessageTypeByName("t.All"))
FLAT = st.fixed_dictionaries(
    {},
    optional={
        **{f"one_{kind}": values for kind, values in KINDS.items()},
        **{f"many_{kind}": st.lists(values, max_size=5) for kind, values in KINDS.items()},
        **{
            f"map_{kind}": st.dictionaries(KINDS["string"], values, max_size=3)
            for kind, values in KINDS.items()
        },
    },
)
DEEP = st.tuples(
    FLAT, FLAT, st.lists(FLAT, max_size=2), st.sampled_from([{}, {"this": 0}, {"that": ""}])
)


def filled(deep):
    flat, inner, many, choice = deep
    return {**flat, "all": inner, "alls": many, **choice}


def theirs_of(values):
    made = THEIR_ALL()
    for name, value in values.items():
        if name == "all":
            made.all.CopyFrom(theirs_of(value))
        elif name == "alls":
            made.alls.extend([theirs_of(item) for item in value])
        elif name.startswith("map_"):
            getattr(made, name).update(value)
        elif name.startswith("many_"):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def plain(values):
    """Ours as Python's own values, without what is empty: so messages are compared."""
    found = {}
    for name, value in values.items():
        if name == "all":
            found[name] = plain(value)
        elif name == "alls":
            found[name] = [plain(item) for item in value]
        elif hasattr(value, "tolist") and not isinstance(value, memoryview):
            found[name] = value.tolist()
        elif isinstance(value, memoryview):
            found[name] = bytes(value)
        elif isinstance(value, list):
            found[name] = [bytes(v) if isinstance(v, memoryview) else v for v in value]
        elif isinstance(value, dict):
            found[name] = {
                k: bytes(v) if isinstance(v, memoryview) else v for k, v in value.items()
            }
        else:
            found[name] = value
    return found


@ROBUST
@given(DEEP)
def test_what_google_writes_is_read(deep):
    wanted = theirs_of(filled(deep))
    found = plain(CODEC.decode("t.All", wanted.SerializeToString()))
    assert theirs_of(found) == wanted


@ROBUST
@given(DEEP)
def test_what_is_written_google_reads(deep):
    values = filled(deep)
    assert THEIR_ALL.FromString(CODEC.encode("t.All", values)) == theirs_of(values)


@ROBUST
@given(DEEP, st.binary(max_size=40), st.integers(0, 2**16), st.integers(0, 255))
def test_damage_is_refused_or_read_and_never_anything_else(deep, noise, place, value):
    data = bytearray(theirs_of(filled(deep)).SerializeToString())
    if data:
        data[place % len(data)] = value
    for damaged in (
        bytes(data),
        bytes(data[: place % (len(data) + 1)]),
        noise,
        bytes(data) + noise,
    ):
        try:
            CODEC.decode("t.All", damaged)
        except InvalidError as error:
            assert error.field
        try:
            scan(damaged, 0, len(damaged), "x")
        except InvalidError as error:
            assert error.field == "x"


@ROBUST
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
def test_repeated_numbers_are_read_one_by_one_too(numbers):
    at = next(f.number for f in ALL.messages[0].fields if f.name == "many_uint64")
    data = b"".join(varint(at << 3) + varint(number) for number in numbers)
    assert CODEC.decode("t.All", data)["many_uint64"].tolist() == numbers
    assert list(THEIR_ALL.FromString(data).many_uint64) == numbers
    floats = b"".join(varint(25 << 3 | 5) + struct.pack("<f", n % 7) for n in numbers)
    assert list(THEIR_ALL.FromString(floats).many_float) == [n % 7 for n in numbers]
    assert CODEC.decode("t.All", floats)["many_float"].tolist() == [n % 7 for n in numbers]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1])
def test_varints(value):
    data = varint(value)
    assert read_varint(b"x" + data + b"x", 1, 1 + len(data), "") == (value, 1 + len(data))


UNKNOWN = [
    varint(9999 << 3) + b"\x05",
    varint(9999 << 3 | 1) + b"12345678",
    varint(9999 << 3 | 2) + b"\x03abc",
    varint(9999 << 3 | 5) + b"1234",
    varint(9999 << 3 | 3) + b"\x0a\x01x\x10\x05\x1b\x1c" + varint(9999 << 3 | 4),
]


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_unknown_fields_are_passed_over(unknown):
    asked = service_pb2.ModelInferRequest(model_name="m", id="7")
    data = unknown + asked.SerializeToString() + unknown
    found = inference.CODEC.decode(REQUEST, data)
    assert (found["model_name"], found["id"]) == ("m", "7")
    assert service_pb2.ModelInferRequest.FromString(data).id == "7"


DAMAGED = [
    (b"\x0a", "message", "does not end"),
    (b"\x0a\x05ab", "message", "5 bytes and 2 are left"),
    (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "message", "does not end"),
    (b"\xff\xff", "message", "does not end"),
    (b"\x00\x01", "message", "no field has the number 0"),
    (b"\x0c", "message", "wire type 4"),
    (b"\x0e", "message", "wire type 6"),
    (b"\x0b", "message", "does not end"),
    (b"\x0a\x02\xff\xfe", "model_name", "UTF-8"),
    (b"\x08\x01", "model_name", "wire type 0"),
    (b"\x2a\x03\x0a\x05a", "inputs[0]", "5 bytes and 1 are left"),
    (b"\x2a\x02\x0a\x00\x2a\x04\x0a\x02\xff\xff", "inputs[1].name", "UTF-8"),
    (b"\x2a\x04\x1a\x02\x80\x80", "inputs[0].shape", "does not end"),
    (b"\x2a\x05\x2a\x03\x32\x01\x00", "inputs[0].contents.fp32_contents", "whole number"),
    (b"\x22\x05\x0a\x03abc\x2a", "message", "does not end"),
    (b"\x25abcd", "parameters", "wire type 5"),
]


@pytest.mark.parametrize(("data", "field", "words"), DAMAGED)
def test_damage_is_told_with_its_place(data, field, words):
    with pytest.raises(InvalidError, match=words) as caught:
        inference.CODEC.decode(REQUEST, data)
    assert caught.value.field == field


MANY = [
    b"\x0a\x00" * 20_000,  # one field again and again
    b"\xf8\xff\x7f\x00" * 20_000,  # an unknown one
    b"\x2a\x04\x0a\x00\x12\x00" * 10_000,  # inputs with fields of their own
    b"\x22\x04\x0a\x00\x12\x00" * 10_000,  # parameters
]


@pytest.mark.parametrize("data", MANY, ids=["same", "unknown", "nested", "entries"])
def test_a_message_of_too_many_fields_is_not_read(data):
    with pytest.raises(InvalidError, match="more than 16,384 fields"):
        inference.CODEC.decode(REQUEST, data)


def test_groups_nest_only_so_deep():
    opening = varint(9999 << 3 | 3)
    with pytest.raises(InvalidError, match="wire type 3 inside"):
        inference.CODEC.decode(REQUEST, opening * 5000)


def test_what_is_told_by_reflection_is_a_file():
    for file in the_files():
        found = descriptor_pb2.FileDescriptorProto.FromString(file_descriptor(file))
        assert found.name == file.name
        assert found.syntax == "proto3"
    assert isinstance(inference.FILE.messages[0], Message)
    assert FieldDescriptor.TYPE_MESSAGE == 11
