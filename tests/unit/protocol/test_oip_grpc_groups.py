"""Groups of Protocol Buffers, which nobody writes any more: passed over, and counted."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.protocol.oip_grpc import inference
from modelworks.protocol.oip_grpc.requests import REQUEST
from modelworks.protocol.oip_grpc.templates import behind

pytestmark = pytest.mark.unit
BEGIN, END = b"\x43", b"\x44"
MANY = {
    "one behind another": (BEGIN + END) * 20_000,
    "one of many fields": BEGIN + b"\x08\x00" * 20_000 + END,
    "inside inputs": (b"\x2a\x04" + 2 * (BEGIN + END)) * 10_000,
}


@pytest.mark.parametrize("data", MANY.values(), ids=MANY)
def test_too_many_are_not_passed_over(data):
    with pytest.raises(InvalidError, match="more than 16,384 fields"):
        inference.CODEC.decode(REQUEST, data)


def test_some_change_nothing():
    groups = 100 * (BEGIN + b"\x08\x01" + END)
    message = b"\x0a\x01m" + groups + b"\x1a\x017" + groups
    assert inference.CODEC.decode(REQUEST, message) == {"model_name": "m", "id": "7"}
    assert {number for number, *_ in behind(message, 3)} > {3}
