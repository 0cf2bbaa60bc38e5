"""Compressed bodies: any cut into members, bounds, damage; held against the standard library."""

import gzip
import random
import zlib

import pytest

from modelworks.edge.head import Refusal
from modelworks.edge.inflate import inflate

pytestmark = pytest.mark.unit
MOST = 1 << 20
EMPTY = gzip.compress(b"")


def refused(body, coding="gzip", limit=MOST):
    with pytest.raises(Refusal) as found:
        inflate(body, coding, limit)
    return found.value.status, found.value.message


@pytest.mark.parametrize(
    "sizes", [(0,), (1,), (70_000,), (300_000, 0, 5), (65_536,) * 5, (3,) * 900]
)
def test_members_of_gzip(sizes):
    random.seed(9)
    parts = [random.randbytes(size) for size in sizes]
    body = b"".join(gzip.compress(part) for part in parts)
    assert inflate(body, "gzip", MOST) == gzip.decompress(body) == b"".join(parts)


def test_members_are_counted():
    assert inflate(EMPTY * 1024, "gzip", MOST) == b""
    # Of so many the loop would otherwise take hours.
    assert refused(EMPTY * 3_000_000) == (
        400,
        "a gzip body of more than 1024 members: send it as one",
    )


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bounds_and_damage(coding):
    press = gzip.compress if coding == "gzip" else zlib.compress
    whole = press(random.Random(9).randbytes(200_000))
    assert len(inflate(whole, coding, 200_000)) == 200_000
    assert refused(whole, coding, 199_999)[0] == 413
    assert refused(press(bytes(50_000_000)), coding)[0] == 413
    for cut in (1, 20, 65_536, 131_072, len(whole) - 1):
        assert refused(whole[:cut], coding) == (400, "the compressed body is truncated")
    assert refused(whole[:90_000] + b"\xff" * 50_000, coding)[0] == 400
    assert refused(b"", coding)[0] == 400


def test_bytes_behind_the_last_member():
    assert refused(gzip.compress(b"a") + b"b")[0] == 400
    assert refused(gzip.compress(b"a" * 20) + EMPTY[:10])[1] == "the compressed body is truncated"
    assert refused(gzip.compress(bytes(600_000)) * 2)[0] == 413
