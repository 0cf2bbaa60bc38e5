"""HAProxy 2.6 and newer: one file.

Every request gets a route, a bucket and an arm in variables of its own, in that order; the arm
names the backend. The buckets are the snapshot's, so shares are right to a ten-thousandth.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.deployment import Capability, Rendered, emulated, honoured, refused
from modelworks.core.proxies import Listen
from modelworks.core.routes import BUCKETS, Arm, Limit, Retries, Route, Snapshot, Source, Sticky
from modelworks.ext.routes import shared

_FILE: Final = "haproxy.cfg"
_TRIED: Final = frozenset({401, 403, 404, 408, 425, 500, 501, 502, 503, 504})
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_LONGEST_S: Final = 86_400


class HaproxyWriter:
    """Writes `haproxy.cfg`."""

    name: ClassVar[str] = "haproxy"
    program: ClassVar[str] = "haproxy"
    experimental: ClassVar[bool] = False
    start: ClassVar[str] = f"haproxy -W -f {_FILE}"
    reload: ClassVar[str] = "kill -USR2 its master process: it starts a new worker, the old drains"
    capabilities: ClassVar[Mapping[str, Capability]] = {
        "salt": honoured("seed of its hash (xxh32)"),
        "sticky.header": honoured("xxh32 over the value, the snapshot's buckets"),
        "sticky.cookie": honoured("xxh32 over the value, the snapshot's buckets"),
        "sticky.field": refused("it looks into no body"),
        "override": honoured("the header's value names the arm"),
        "shadows": refused("it mirrors nothing by itself (only through a SPOE agent)"),
        "shadows.compare": refused("it mirrors nothing by itself"),
        "arms.model": refused("the path is passed on as it came"),
        "arms.version": refused("the path is passed on as it came"),
        "arms.headers": honoured("http-request set-header of the backend"),
        "arms.endpoints.zone": honoured("servers of another zone are backups"),
        "timeout_s": emulated("timeout server: between two bytes from there, not for all of it"),
        "retries.most": honoured("retries on another server, of requests that fit in its buffer"),
        "retries.budget": refused("it has no budget"),
        "retries.statuses": honoured("retry-on", partial(shared.no_status, _TRIED)),
        "hedge_ms": refused("it asks one server at a time"),
        "breaker.failures": honoured("observe layer7, error-limit, mark-down"),
        "breaker.rest_s": emulated(
            "a server is looked at again after it, and back when it is ready"
        ),
        "breaker.most_ejected": refused("it takes out whoever fails"),
        "breaker.outstanding": honoured("maxconn of a server; what is more waits"),
        "fallback": honoured("asked where an arm has no server left"),
        "limit.rate": emulated("no more than `burst` within burst / rate seconds, sliding"),
        "limit.burst": emulated("see the rate"),
        "limit.quota": emulated(
            "counted in a sliding time",
            lambda _, route: (
                ""
                if (route.get("limit") or {}).get("quota_s", 0) <= _LONGEST_S
                else "it counts over a day at most"
            ),
        ),
        "limit.quota_s": emulated("a sliding time"),
    }

    def write(self, snapshot: Snapshot, listen: Listen) -> tuple[Rendered, ...]:
        """See `RouteWriter`."""
        routes = shared.ordered(snapshot)
        text = "\n".join(_lines(routes, listen)) + "\n"
        return (Rendered(_FILE, text),)

    def check(self, folder: Path, program: str) -> None:
        """See `RouteWriter`."""
        shared.ask(
            [program or self.program, "-c", "-q", "-f", str(folder / _FILE)],
            "as root: apt-get install haproxy",
        )


def _lines(routes: list[tuple[str, Route]], listen: Listen) -> Iterator[str]:
    yield from (
        "# Written by Modelworks from a snapshot of its routes.",
        "global",
        "    tune.bufsize 65536",
        "defaults",
        "    mode http",
        "    timeout connect 5s",
        "    timeout client 75s",
        "    timeout server 3600s",
        "    timeout http-request 10s",
        "    timeout queue 10s",
        "    option http-keep-alive",
        "frontend modelworks",
        f"    bind {shared.bound(listen)}",
    )
    for short, route in routes:
        yield from _routed(short, route)
    for short, route in routes:
        yield from _chosen(short, route)
    yield "    http-request return status 404 unless { var(txn.arm) -m found }"
    yield "    use_backend %[var(txn.arm)]"
    for short, route in routes:
        for kind, seconds in _tables(route.limit):
            yield f"backend {short}_{kind}"
            yield (
                f"    stick-table type integer size 16 expire {seconds}s "
                f"store http_req_rate({seconds}s)"
            )
        for arm in route.arms:
            yield from _backend(short, route, arm)


def _routed(short: str, route: Route) -> Iterator[str]:
    """Which route a request is of: the first that fits."""
    yield f"    # {shared.word(route.name, 'name')}"
    for path in shared.paths(route):
        yield f"    acl {short}_path path_beg {path}/"
        if path:
            yield f"    acl {short}_path path {path}"
    wanted = f"{short}_path"
    if route.host:
        star, _, rest = route.host.rpartition("*")
        name = shared.word(rest or star, "host")
        end = " -m end" if "*" in route.host else ""
        yield f"    acl {short}_host req.hdr(host),field(1,:) -i{end} {name}"
        wanted += f" {short}_host"
    yield (
        f"    http-request set-var(txn.route) str({short}) "
        f"if !{{ var(txn.route) -m found }} {wanted}"
    )


def _chosen(short: str, route: Route) -> Iterator[str]:
    """The arm of a request of a route."""
    ours = f"{{ var(txn.route) -m str {short} }}"
    yield f"    http-request set-var(txn.bucket) rand({BUCKETS}) if {ours}"
    if route.sticky is not None:
        key = _key(route.sticky)
        seed = int.from_bytes(blake2b(shared.salt(route).encode(), digest_size=4).digest()) >> 1
        yield (
            f"    http-request set-var(txn.bucket) {key},xxh32({seed}),mod({BUCKETS}) "
            f"if {ours} {{ {key} -m found }}"
        )
    for first, end, arm in shared.ranges(route):
        yield (
            f"    http-request set-var(txn.arm) str({shared.pool(short, route, arm)}) "
            f"if {ours} {{ var(txn.bucket) -m int {first}:{end - 1} }}"
        )
    if route.override:
        header = shared.word(route.override, "override")
        for arm in route.arms:
            asked = f"{{ req.hdr({header}) -m str {shared.word(arm.name, 'arms.name')} }}"
            name = shared.pool(short, route, arm)
            yield f"    http-request set-var(txn.arm) str({name}) if {ours} {asked}"
    if route.fallback:
        other = shared.pool(short, route, shared.arm_of(route, route.fallback))
        for arm in route.arms:
            name = shared.pool(short, route, arm)
            if name != other:
                gone = f"{{ var(txn.arm) -m str {name} }} {{ nbsrv({name}) lt 1 }}"
                yield f"    http-request set-var(txn.arm) str({other}) if {ours} {gone}"
    limit = route.limit
    for number, (kind, _) in enumerate(_tables(limit)):
        table = f"{short}_{kind}"
        most = 0 if limit is None else limit.burst if kind == "rate" else limit.quota
        yield f"    http-request track-sc{number} int(1) table {table} if {ours}"
        yield (
            f"    http-request return status 429 hdr retry-after 1 "
            f"if {ours} {{ sc{number}_http_req_rate({table}) gt {most} }}"
        )


def _key(sticky: Sticky) -> str:
    name = shared.word(sticky.name, "sticky.name")
    return f"req.cook({name})" if sticky.source is Source.COOKIE else f"req.hdr({name})"


def _tables(limit: Limit | None) -> Iterator[tuple[str, int]]:
    """What is counted, over how many seconds."""
    if limit is not None and limit.rate:
        yield "rate", max(1, round(limit.burst / limit.rate))
    if limit is not None and limit.quota:
        yield "quota", max(1, round(limit.quota_s))


def _backend(short: str, route: Route, arm: Arm) -> Iterator[str]:
    breaker = route.breaker
    yield f"backend {shared.pool(short, route, arm)}"
    yield "    balance leastconn"
    yield "    option httpchk"
    yield f"    http-check send meth GET uri {shared.READY} ver HTTP/1.1 hdr Host modelworks"
    yield "    http-check expect status 200"
    if route.timeout_s:
        yield f"    timeout server {round(route.timeout_s * 1000)}ms"
    yield from _retried(route.retries)
    for name, text in arm.headers.items():
        shared.word(name, "headers")
        yield f'    http-request set-header {name} "{shared.value(text, "headers")}"'
    watched = ""
    if breaker.failures:
        rest = round(breaker.rest_s * 1000)
        watched = (
            f" observe layer7 error-limit {breaker.failures} on-error mark-down downinter {rest}ms"
        )
    for number, server in enumerate(shared.servers(arm, arm.name)):
        address = server.address if server.port else f"unix@{server.host}"
        secure = f" ssl verify required ca-file {_AUTHORITIES} sni str({server.host})"
        yield (
            f"    server s{number} {address} check inter {shared.LOOK_S}s fall 2 rise 1 "
            f"maxconn {breaker.outstanding}{watched}{secure if server.tls else ''}"
            f"{'' if server.near else ' backup'}"
        )


def _retried(retries: Retries) -> Iterator[str]:
    yield f"    retries {retries.most}"
    if retries.most:
        statuses = " ".join(map(str, retries.statuses))
        yield f"    retry-on conn-failure empty-response {statuses}".rstrip()
        yield "    option redispatch 1"
