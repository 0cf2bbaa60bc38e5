"""The API key of a benchmark: which requests bring it, and which endpoints are never sent it."""

import pytest

from modelworks.cli.commands.bench import Bench
from modelworks.core.errors import InvalidError
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import parse_target

pytestmark = pytest.mark.unit


@pytest.fixture
def target(monkeypatch):
    """What the word of a command line becomes, where MODELWORKS_KEY is set."""
    monkeypatch.setenv("MODELWORKS_KEY", "mw_secret")
    monkeypatch.setenv("MODELWORKS_SERVER", "http://127.0.0.1:1")

    class Options:
        url = ca = client_cert = client_key = ""
        insecure = False

    bench = object.__new__(Bench)
    bench._options = Options()
    return bench._target


def test_a_models_name_is_a_server_of_ours(target):
    found = target("fraud@champion")
    for request in (request_bytes(found, Body(b"{}")), request_bytes(found, method="GET")):
        assert b"\r\nAuthorization: Bearer mw_secret\r\n" in request
    given = request_bytes(found, Body(b"{}"), headers=[("authorization", "Bearer other")])
    assert b"mw_secret" not in given
    assert b"authorization: Bearer other\r\n" in given
    assert "mw_secret" not in repr(found)


def test_a_url_may_be_anybodys(target):
    assert b"Authorization" not in request_bytes(target("http://127.0.0.1:2/v2/models/m"))


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "a\n", "\u00e9"])
def test_what_is_no_key_is_not_sent_and_not_repeated(key, monkeypatch, target):
    monkeypatch.setenv("MODELWORKS_KEY", key)
    with pytest.raises(InvalidError) as caught:
        request_bytes(target("fraud"))
    assert key not in caught.value.message


def test_a_plain_target_has_none():
    assert b"Authorization" not in request_bytes(parse_target("http://127.0.0.1:2/x"))
