"""Real model servers that a real DNS server names, behind a real gateway."""

import time

import pytest

from directories import DNSMASQ, NAME, Dnsmasq
from gateway_process import Callers, Gateway
from gateway_served import as_json, one, snapshot
from modelworks.testing import onnx_models
from modelworks.testing.servers import Server
from store_servers import free_port

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DNSMASQ, reason="no dnsmasq here: bash scripts/debian.sh"),
]

BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'


def asked(gateway) -> dict[str, float]:
    """Tries of each endpoint, of all workers."""
    name = "modelworks_gateway_endpoint_tries_total"
    found = {k: v for k, v in gateway.metrics().items() if k.startswith(name)}
    return {key.partition('endpoint="')[2].partition('"')[0]: v for key, v in found.items()}


def until(gateway, addresses) -> None:
    end = time.monotonic() + 15
    wanted = sorted(f"http://{address}" for address in addresses)
    while sorted(place["url"] for place in gateway.state()["endpoints"]) != wanted:
        assert time.monotonic() < end, gateway.state()["names"]
        time.sleep(0.05)


def test_servers_come_and_go_by_name_and_callers_notice_nothing(tmp_path):
    model = onnx_models.identity(tmp_path / "m.onnx")
    port = free_port()
    first, second = f"127.0.0.2:{port}", f"127.0.0.3:{port}"
    arguments = ["--file", str(model), "--name", "m", "--port", str(port), "--host"]
    routes = tmp_path / "routes.json"
    routes.write_bytes(as_json(snapshot(one(f"dns:{NAME}:{port}", model="m"))))
    with (
        Dnsmasq(tmp_path) as dns,
        Server([*arguments, "127.0.0.2"]) as old,
        Server([*arguments, "127.0.0.3"]),
    ):
        dns.put([("127.0.0.2", 0)])
        with (
            Gateway(routes, "--dns", dns.address, "--check-seconds", "0.5") as gateway,
            Callers(gateway.port, "/v2/models/m/infer", BODY) as callers,
        ):
            callers.until(100)
            assert set(asked(gateway)) == {f"http://{first}"}
            dns.put([("127.0.0.2", 0), ("127.0.0.3", 0)])
            until(gateway, [first, second])
            callers.until(300)
            assert min(asked(gateway).values()) > 20
            dns.stop()  # what it said last holds
            end = time.monotonic() + 15
            while not gateway.state()["names"][0]["problem"]:
                assert time.monotonic() < end
                time.sleep(0.1)
            callers.until(200)
            until(gateway, [first, second])
            dns.start()
            dns.put([("127.0.0.3", 0)])
            until(gateway, [second])
            old.terminate()  # nobody is sent there any more
            callers.until(200)
            state = gateway.state()
        assert callers.errors == []
        assert set(callers.statuses) == {200}
        assert [place["url"] for place in state["endpoints"]] == [f"http://{second}"]
