"""Bodies of announced length come in any pieces, and end exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.edge.body import SizedBody

pytestmark = pytest.mark.unit


@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_any_cut_gives_the_same_body(sizes, before, behind):
    wanted = (bytes(range(251)) * (sum(sizes) // 251 + 1))[: sum(sizes)]
    body = SizedBody(len(wanted))
    at = 0
    for number, size in enumerate(sizes):
        last = number == len(sizes) - 1
        lead = b"h" * before if number == 0 else b""
        piece = lead + wanted[at : at + size] + (b"n" * behind if last else b"")
        assert not body.done
        assert body.feed(piece, len(lead)) == len(lead) + size
        at += size
        assert body.held == at
    assert body.done
    assert body.body() == wanted


def test_byte_by_byte_costs_no_more_than_the_bytes():
    body = SizedBody(200_000)
    for _ in range(200_000):
        body.feed(b"x", 0)
    assert len(body._pieces) < 20
    assert body.body() == b"x" * 200_000
