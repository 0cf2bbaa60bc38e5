"""`X-Timeout-Ms`: read, and the shorter of it and the request's own time-out is kept."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.edge import hub as edge_hub
from modelworks.edge.hub import Hub
from modelworks.edge.limits import Limits
from modelworks.edge.patience import timeout_ms
from modelworks.serving.batcher import Member
from modelworks.serving.infer import bound

pytestmark = pytest.mark.unit

MS = 1_000_000


class Asked(Member):
    __slots__ = ()

    def succeed(self, outputs):
        pass

    def fail(self, error):
        pass


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"0", 0), (b"1", 1), (b"0250", 250), (b"999999999999", 86_400_000)],
)
def test_what_is_a_number_is_read(value, found):
    assert timeout_ms(value) == found


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"1.5", b"1s", b"1, 2", b"0x10", "\u0661".encode(), b"9" * 13]
)
def test_what_is_none_is_told_by_its_name(value):
    with pytest.raises(InvalidError, match="whole number of milliseconds") as caught:
        timeout_ms(value)
    assert caught.value.field == "X-Timeout-Ms"


@pytest.mark.parametrize(
    ("own_ms", "value", "deadline_ms"),
    [(0, b"20", 20), (10, b"20", 10), (30, b"20", 20), (30, b"0", 30), (0, b"0", 0)],
)
def test_the_shorter_of_both_is_kept(own_ms, value, deadline_ms):
    began = 5 * MS
    own = began + own_ms * MS if own_ms else 0
    member = Asked({}, 1, None, began, own)
    bound(member, value)
    assert member.deadline_ns == (began + deadline_ms * MS if deadline_ms else 0)


def test_heads_of_a_gateway_that_differ_in_it_are_parsed_once(monkeypatch):
    parsed = []
    whole = edge_hub.parse_head
    monkeypatch.setattr(
        edge_hub, "parse_head", lambda raw, limits: parsed.append(raw) or whole(raw, limits)
    )
    hub = Hub(lambda exchange: None, Limits(), None)
    head = "POST /p HTTP/1.1\r\nHost: a\r\nX-Request-Id: {0}\r\nX-Timeout-Ms: {0}\r\n\r\n"
    read = [hub.read(head.format(i).encode()).headers[b"x-timeout-ms"] for i in range(3, 9)]
    assert read == [b"3", b"4", b"5", b"6", b"7", b"8"]
    assert len(parsed) == 1
