"""Header compression beside another implementation, and frames as they are written."""

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelworks.edge.http2 import frames
from modelworks.edge.http2.frames import Fault
from modelworks.edge.http2.hpack import STATIC, Decoder, Encoder
from modelworks.edge.http2.huffman import HuffmanError, decode, words

pytestmark = pytest.mark.unit
MOST = 1 << 20
names = st.sampled_from([b":path", b"content-type", b"x-a", b"grpc-timeout", b"user-agent"])
fields = st.tuples(names | st.binary(min_size=1, max_size=40), st.binary(max_size=80))
blocks = st.lists(st.lists(fields, max_size=6), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(blocks, st.booleans(), st.lists(st.integers(0, 4096), max_size=8))
def test_what_another_encoder_writes_is_read(lists, huffman, sizes):
    theirs, ours = hpack.Encoder(), Decoder(MOST)
    for i, given_fields in enumerate(lists):
        if i < len(sizes):
            theirs.header_table_size = sizes[i]
        assert ours.read(theirs.encode(given_fields, huffman=huffman)) == given_fields


@settings(max_examples=60, deadline=None)
@given(blocks, blocks, st.lists(st.integers(0, 8192), max_size=8))
def test_what_is_written_another_decoder_reads(often, others, sizes):
    ours, theirs = Encoder(), hpack.Decoder(MOST)
    for i, (first, second) in enumerate(zip(often, others, strict=False)):
        if i < len(sizes):
            theirs.max_allowed_table_size = sizes[i]
            ours.resize(sizes[i])
        block = ours.write(tuple(second), tuple(first))
        found = [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)]
        assert found == [*first, *second]


def test_what_comes_often_is_a_byte_the_second_time():
    encoder = Encoder()
    often = ((b":status", b"200"), (b"content-type", b"application/grpc"))
    assert len(encoder.write((), often)) > 10
    assert encoder.changed
    assert len(encoder.write((), often)) == 2
    assert not encoder.changed


def test_a_full_table_is_left_as_it_is():
    encoder, theirs = Encoder(), hpack.Decoder()
    for i in range(200):
        field = (b"x-%d" % i, b"a" * 100)
        assert [
            tuple(map(bytes, f)) for f in theirs.decode(encoder.write((), (field,)), raw=True)
        ] == [field]
    assert not encoder.changed
    assert len(encoder.write((), ((b"x-0", b"a" * 100),))) == 1


def test_fields_beyond_the_limit_are_read_and_not_kept():
    decoder = Decoder(100)
    block = Encoder().write(((b"x-a", b"a" * 50), (b"x-b", b"a" * 50)))
    assert decoder.read(block) == [(b"x-a", b"a" * 50)]
    assert decoder.oversized
    assert decoder.read(Encoder().write(((b"x-a", b""),))) == [(b"x-a", b"")]
    assert not decoder.oversized


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_a_fault(block):
    decoder = Decoder(MOST)
    try:
        ours = decoder.read(block)
    except Fault as fault:
        assert fault.code == frames.COMPRESSION_ERROR
    else:
        theirs = hpack.Decoder(MOST).decode(block, raw=True)
        assert ours == [(bytes(name), bytes(value)) for name, value in theirs]


def test_the_static_table_is_that_of_the_standard():
    from hpack.table import HeaderTable

    assert STATIC[1:] == HeaderTable.STATIC_TABLE


def test_the_code_is_that_of_the_standard():
    from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

    assert words() == list(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))


def encoded(text: bytes) -> bytes:
    found = words()
    bits = "".join(f"{found[byte][0]:0{found[byte][1]}b}" for byte in text)
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_every_string_is_read_from_the_code(text):
    assert decode(encoded(text)) == text


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x00", b"\xff", encoded(b"a") + b"\xff"])
def test_what_is_not_in_the_code(data):
    with pytest.raises(HuffmanError):
        decode(data)


def test_padding_of_seven_bits_is_the_most():
    assert decode(b"\x1f") == b"a"
    with pytest.raises(HuffmanError):
        decode(b"\x1f\xff")


def test_frames_are_as_another_implementation_writes_them():
    from hyperframe import frame as theirs

    goaway = theirs.GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"why")
    assert frames.goaway(7, 11, "why") == goaway.serialize()
    assert frames.reset(5, 8) == theirs.RstStreamFrame(5, error_code=8).serialize()
    assert frames.window_update(3, 9) == theirs.WindowUpdateFrame(3, window_increment=9).serialize()
    settings_ = theirs.SettingsFrame(0, settings={3: 100, 4: 70000})
    assert frames.settings(((3, 100), (4, 70000))) == settings_.serialize()
    assert frames.settings_of(settings_.serialize_body()) == [(3, 100), (4, 70000)]
