"""DNS: A, AAAA and SRV records, over UDP and TCP, by dnspython."""

from time import monotonic
from typing import ClassVar, Final

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from modelworks.core.discovery import Found, Named
from modelworks.core.errors import InvalidError, UnavailableError

SECONDS: Final = 4.0
"""That all questions of one look may take."""
LEAST_S: Final = 1.0
MOST_S: Final = 30.0
"""Between two looks at most, however long records may be kept."""
_PORT: Final = 53


class DnsFinder:
    """Asks the system's resolvers, or one that is named.

    Args:
        address: `HOST` or `HOST:PORT` of a resolver (an IP address); empty = those of
            `/etc/resolv.conf`, whose search list counts then too.
        secret: none is known.

    Raises:
        InvalidError: no resolver.
    """

    experimental: ClassVar[bool] = False

    def __init__(self, address: str = "", secret: str = "") -> None:
        del secret
        try:
            self._resolver = dns.resolver.Resolver(configure=not address)
            if address:
                host, port = _split(address)
                self._resolver.nameservers = [host]
                self._resolver.port = port
        except (dns.exception.DNSException, ValueError, OSError) as error:
            raise InvalidError(
                f"'{address or '/etc/resolv.conf'}' names no DNS resolver: {error}", field="dns"
            ) from error
        self._seconds = SECONDS
        self._resolver.timeout = SECONDS / 3

    def find(self, named: Named, mark: str) -> Found:
        """See `Finder`."""
        del mark
        end = monotonic() + self._seconds
        try:
            if named.kind == "dns+srv":
                return self._services(named.name, end)
            hosts, ttl = self._addresses(named.name, end)
        except dns.exception.DNSException as error:
            raise UnavailableError(f"DNS does not tell of {named.name}: {error}") from error
        return Found(tuple((host, named.port) for host in hosts), _again(ttl))

    def _services(self, name: str, end: float) -> Found:
        """Of several priorities the lowest number; weights are left to who has fewest requests."""
        try:
            answer = self._resolve(name, dns.rdatatype.SRV, end)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return Found((), LEAST_S)
        ttl: float = answer.rrset.ttl if answer.rrset is not None else 0
        best = min(record.priority for record in answer)
        found: set[tuple[str, int]] = set()
        for record in answer:
            if record.priority == best and record.target != dns.name.root:
                hosts, other = self._addresses(record.target.to_text(), end)
                ttl = min(ttl, other)
                found.update((host, record.port) for host in hosts)
        return Found(tuple(sorted(found)), _again(ttl))

    def _addresses(self, name: str, end: float) -> tuple[list[str], float]:
        """Addresses in order, and how long they may be kept."""
        hosts: list[str] = []
        ttl = MOST_S
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                answer = self._resolve(name, kind, end)
            except dns.resolver.NXDOMAIN:
                break
            except dns.resolver.NoAnswer:
                continue
            hosts += sorted(record.address for record in answer)
            ttl = min(ttl, answer.rrset.ttl if answer.rrset is not None else 0)
        return hosts, ttl if hosts else LEAST_S

    def _resolve(self, name: str, kind: dns.rdatatype.RdataType, end: float) -> dns.resolver.Answer:
        left = max(0.01, end - monotonic())
        return self._resolver.resolve(name, kind, search=True, lifetime=left)


def _again(ttl: float) -> float:
    return min(max(ttl, LEAST_S), MOST_S)


def _split(address: str) -> tuple[str, int]:
    """Host and port; an IPv6 address with a port is written in brackets."""
    if address.startswith("["):
        host, end, rest = address[1:].partition("]")
        if not end:
            raise ValueError("']' is missing")
        return host, int(rest.removeprefix(":") or _PORT)
    host, colon, port = address.rpartition(":")
    if not colon or ":" in host:
        return address, _PORT
    return host, int(port)
