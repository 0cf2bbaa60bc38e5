"""A snapshot read in small steps says what `json` says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import InvalidError
from modelworks.gateway.slices import read_slices
from properties import examples

pytestmark = pytest.mark.unit

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@examples(60)
@given(value=st.dictionaries(st.text(), VALUES, max_size=4), indent=st.sampled_from([None, 1]))
def test_objects_are_read_as_json_reads_them(value, indent):
    assert read_slices(json.dumps(value, indent=indent).encode()) == value


@examples(120)
@given(value=st.dictionaries(st.text(max_size=3), VALUES, max_size=3), data=st.data())
def test_what_is_broken_is_refused_as_json_refuses_it(value, data):
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    drop = data.draw(st.integers(0, 2))
    put = data.draw(st.sampled_from(["", ",", "{", "}", "[", "]", ":", '"', "x", "1", " "]))
    text = text[:at] + put + text[at + drop :]
    try:
        wanted = json.loads(text)
        assert isinstance(wanted, dict)
    except (ValueError, AssertionError):
        with pytest.raises(InvalidError, match="no JSON"):
            read_slices(text.encode())
    else:
        assert read_slices(text.encode()) == wanted


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"[]", b"1", b"{", b'{"a"', b'{"a":', b"{}x", b"\xff{}"]
)
def test_no_object(raw):
    with pytest.raises(InvalidError):
        read_slices(raw)
