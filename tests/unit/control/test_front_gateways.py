"""Gateways that announce themselves, and those that are named."""

import json
import subprocess
import sys

import pytest

from modelworks.client.gateways import listed, register
from modelworks.control.front.gateways import addresses, admins
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home

pytestmark = pytest.mark.unit


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


def test_a_gateway_of_this_machine_is_found_and_named_ones_follow(home):
    entry = register(home, "http://127.0.0.1:8080", "http://127.0.0.1:9901", "http://c/snapshot")
    named = ("http://10.0.0.7:9901/", "http://127.0.0.1:9901")
    assert admins(home, named) == ["http://127.0.0.1:9901", "http://10.0.0.7:9901"]
    assert [gateway.snapshot for gateway in listed(home)] == ["http://c/snapshot"]
    entry.unlink()
    assert admins(home) == []


def test_one_without_an_admin_address_or_without_a_process_tells_nothing(home):
    entry = register(home, "http://127.0.0.1:8080", "", "routes.json")
    assert admins(home) == []
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    told = json.loads(entry.read_text()) | {"pid": dead.pid, "admin": "http://127.0.0.1:1"}
    gone = entry.with_name("gone.json")
    gone.write_text(json.dumps(told))
    (entry.with_name("other.json")).write_text("{")
    assert admins(home) == []
    assert not gone.exists()


def test_addresses_of_a_command_line():
    assert addresses("") == ()
    assert addresses("http://a:9901/, https://b:1") == ("http://a:9901", "https://b:1")
    for wrong in ("a:9901", "http://", "http://a:x", "http://a:9901/metrics", "http://u@a:1"):
        with pytest.raises(InvalidError, match="--gateways") as caught:
            addresses(f"http://good:9901,{wrong}")
        assert caught.value.field == "gateways"
