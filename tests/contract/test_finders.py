"""The contract of finders: DNS against dnsmasq and a server of our own, Consul against a fake."""

import dns.rcode
import pytest

from directories import DNSMASQ, NAME, Dnsmasq, FakeConsul, Zone
from modelworks.core.discovery import Named, named_of
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.ext.discovery import dns as dns_finder
from modelworks.plugins.load import load
from modelworks.testing.finders import Directory, FinderContract

pytestmark = pytest.mark.contract

DNS = named_of(f"dns:{NAME}:8000")
NOBODY = named_of("dns:nobody.test:8000")


@pytest.fixture
def zone(monkeypatch):
    monkeypatch.setattr(dns_finder, "SECONDS", 0.6)
    made = Zone()
    yield made
    made.close()


@pytest.fixture
def consul():
    made = FakeConsul()
    yield made
    made.stop()


class TestDns(FinderContract):
    @pytest.fixture
    def directory(self, zone):
        def stop():
            zone.silent = True

        return Directory(load("finders", "dns")(zone.address, ""), DNS, NOBODY, zone.put, stop)


@pytest.mark.skipif(not DNSMASQ, reason="no dnsmasq here: bash scripts/debian.sh")
class TestDnsmasq(FinderContract):
    @pytest.fixture
    def directory(self, tmp_path):
        with Dnsmasq(tmp_path) as server:
            finder = load("finders", "dns")(server.address, "")
            yield Directory(finder, DNS, NOBODY, server.put, server.stop)


class TestConsul(FinderContract):
    @pytest.fixture
    def directory(self, consul):
        return Directory(
            load("finders", "consul")(consul.url, ""),
            named_of("consul:fraud?dc=dc1"),
            named_of("consul:nobody"),
            consul.put,
            consul.stop,
        )

    def test_only_who_passes_is_asked_for_with_what_the_name_says(self, consul, directory):
        directory.finder.find(named_of("consul:fraud?dc=eu&tag=blue"), "")
        assert consul.asked == [
            ("/v1/health/service/fraud", {"passing": "1", "dc": "eu", "tag": "blue"})
        ]

    def test_an_index_that_goes_back_begins_anew(self, consul, directory):
        directory.put([("127.0.0.3", 1)])
        mark = directory.finder.find(directory.named, "").mark
        consul.restart()
        assert directory.finder.find(directory.named, mark).mark == ""

    def test_a_token_that_is_not_taken_is_told(self):
        consul = FakeConsul("secret")
        try:
            assert load("finders", "consul")(consul.url, "secret").find(DNS, "").addresses == ()
            with pytest.raises(InvalidError, match="403: Permission denied"):
                load("finders", "consul")(consul.url, "wrong").find(DNS, "")
        finally:
            consul.stop()


def test_both_families_and_the_shortest_time(zone):
    zone.put([("127.0.0.9", 0), ("127.0.0.3", 0)], ttl=20)
    zone.records[NAME, "AAAA"] = (7, ["::1"])
    found = load("finders", "dns")(zone.address, "").find(DNS, "")
    assert found.addresses == (("127.0.0.3", 8000), ("127.0.0.9", 8000), ("::1", 8000))
    assert found.again_s == 7


@pytest.mark.parametrize(("ttl", "again"), [(0, 1.0), (86_400, 30.0)])
def test_a_time_that_is_too_short_or_too_long_is_bounded(zone, ttl, again):
    zone.put([("127.0.0.9", 0)], ttl=ttl)
    assert load("finders", "dns")(zone.address, "").find(DNS, "").again_s == again


def test_service_records_name_ports_and_the_best_priority_is_taken(zone):
    zone.put([("127.0.0.2", 0), ("127.0.0.4", 0)], name="a.test")
    zone.put([("127.0.0.3", 0)], name="b.test")
    zone.records["_http._tcp.models.test", "SRV"] = (
        5,
        ["1 10 8001 a.test.", "1 90 8002 b.test.", "2 0 9000 b.test."],
    )
    finder = load("finders", "dns")(zone.address, "")
    found = finder.find(named_of("dns+srv:_http._tcp.models.test"), "")
    assert found.addresses == (("127.0.0.2", 8001), ("127.0.0.3", 8002), ("127.0.0.4", 8001))
    assert finder.find(named_of("dns+srv:_grpc._tcp.models.test"), "").addresses == ()


def test_a_server_that_fails_is_no_empty_answer(zone):
    zone.rcode = dns.rcode.SERVFAIL
    with pytest.raises(UnavailableError, match=NAME):
        load("finders", "dns")(zone.address, "").find(DNS, "")


@pytest.mark.parametrize("address", ["example.com", "127.0.0.1:x", "[::1"])
def test_what_is_no_resolver_is_refused(address):
    with pytest.raises(InvalidError):
        load("finders", "dns")(address, "")


@pytest.mark.parametrize("address", ["ftp://a", "consul", "http://a:b"])
def test_what_is_no_agent_is_refused(address):
    with pytest.raises(InvalidError):
        load("finders", "consul")(address, "")


def test_names_as_they_are_written():
    assert named_of("dns:a.b:80?tls=c.d") == Named("dns", "a.b", 80, {}, "c.d")
    assert named_of("consul:fraud?dc=eu") == Named("consul", "fraud", 0, {"dc": "eu"})


@pytest.mark.parametrize(
    "url",
    [
        *(
            "dns:a",
            "dns:a:0",
            "dns:a:65536",
            "dns::80",
            "dns:a b:80",
            "dns:a:80/x",
            "dns:a:80?dc=x",
        ),
        *("consul:", "consul:a/b", "consul:a?dc=", "consul:a?dc=x&dc=y", "consul:a?x", "dns+srv:/"),
    ],
)
def test_what_is_no_name_is_refused(url):
    with pytest.raises(InvalidError):
        named_of(url)
