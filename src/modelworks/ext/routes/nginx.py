"""nginx 1.22 and newer, the open-source one: one file.

`split_clients` gives a request its arm by a hash (MurmurHash2) of the caller's key, or of the
request's own id where there is none.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from modelworks.core.deployment import Capability, Rendered, emulated, honoured, refused
from modelworks.core.errors import InvalidError
from modelworks.core.proxies import Listen
from modelworks.core.routes import BUCKETS, Arm, Route, Snapshot, Source, Sticky
from modelworks.ext.routes import shared

_FILE: Final = "nginx.conf"
_TRIED: Final = frozenset({403, 404, 429, 500, 502, 503, 504})
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_MINUTE: Final = 60
_VARIABLE: Final = re.compile(r"[A-Za-z0-9_]+")


def _no_hosts(_: Any, route: Mapping[str, Any]) -> str:
    """Backups are one group: they stand for the fallback, or for another zone."""
    zones = any(end["zone"] for arm in route["arms"] for end in arm["endpoints"])
    return "its backup servers are those of another zone already" if zones else ""


class NginxWriter:
    """Writes `nginx.conf`."""

    name: ClassVar[str] = "nginx"
    program: ClassVar[str] = "nginx"
    experimental: ClassVar[bool] = False
    start: ClassVar[str] = f'nginx -p . -c {_FILE} -g "daemon off;"'
    reload: ClassVar[str] = "nginx -s reload: new workers take over, the old ones drain"
    capabilities: ClassVar[Mapping[str, Capability]] = {
        "salt": honoured("part of what is hashed"),
        "sticky.header": honoured("split_clients over the value; another hash than ours"),
        "sticky.cookie": honoured(
            "split_clients over the value; another hash than ours",
            lambda name, _: (
                "" if _VARIABLE.fullmatch(name) else "its variables have letters, digits and _ only"
            ),
        ),
        "sticky.field": refused("it looks into no body"),
        "override": honoured("the header's value names the arm"),
        "shadows": emulated("mirror: a connection that is kept waits for its slowest mirror"),
        "shadows.compare": refused("it throws a mirror's answers away: set it to false"),
        "arms.model": refused("the path is passed on as it came"),
        "arms.version": refused("the path is passed on as it came"),
        "arms.headers": honoured("proxy_set_header of the arm's location"),
        "arms.endpoints.zone": honoured("servers of another zone are backups"),
        "timeout_s": emulated("proxy_read_timeout: between two reads, not for all of it"),
        "retries.most": honoured("proxy_next_upstream_tries"),
        "retries.budget": refused("it has no budget"),
        "retries.statuses": honoured("proxy_next_upstream", partial(shared.no_status, _TRIED)),
        "hedge_ms": refused("it asks one server at a time"),
        "breaker.failures": honoured("max_fails of a server; what is retried counts as failed"),
        "breaker.rest_s": honoured("fail_timeout of a server, the same each time"),
        "breaker.most_ejected": refused("it takes out whoever fails, but for the last one"),
        "breaker.outstanding": honoured("max_conns of a server"),
        "fallback": emulated("its servers are backups of every arm", _no_hosts),
        "limit.rate": honoured("limit_req of the route, of each nginx"),
        "limit.burst": honoured("its burst, without delay"),
        "limit.quota": refused("it counts over a minute at most"),
        "limit.quota_s": refused("it counts over a minute at most"),
    }

    def write(self, snapshot: Snapshot, listen: Listen) -> tuple[Rendered, ...]:
        """See `RouteWriter`."""
        text = "\n".join(_lines(shared.ordered(snapshot), listen)) + "\n"
        return (Rendered(_FILE, text),)

    def check(self, folder: Path, program: str) -> None:
        """See `RouteWriter`."""
        command = [program or self.program, "-t", "-q", "-p", str(folder)]
        shared.ask([*command, "-c", str(folder / _FILE)], "as root: apt-get install nginx-light")


def _lines(routes: list[tuple[str, Route]], listen: Listen) -> Iterator[str]:
    yield from (
        "# Written by Modelworks from a snapshot of its routes.",
        "pid nginx.pid;",
        "error_log stderr warn;",
        "worker_processes auto;",
        "events { worker_connections 4096; }",
        "http {",
        "  access_log off;",
        "  server_tokens off;",
        f"  client_max_body_size {shared.BODY};",
        "  client_body_buffer_size 1m;",
        *(f"  {kind}_temp_path temp;" for kind in ("client_body", "proxy", "fastcgi")),
        *(f"  {kind}_temp_path temp;" for kind in ("uwsgi", "scgi")),
        "  limit_req_status 429;",
        "  proxy_http_version 1.1;",
    )
    for short, route in routes:
        yield from _split(short, route)
        yield from _sampled(short, route)
        for arm in route.arms:
            yield from _upstream(short, route, arm)
    hosts = list(dict.fromkeys(route.host for _, route in routes))
    for host in [*hosts, *([] if "" in hosts else [""])]:
        yield from _server(routes, host, listen)
    yield "}"


def _split(short: str, route: Route) -> Iterator[str]:
    """Variables of a route: the arm of a request, and what is sent there with it."""
    key = "$request_id"
    if route.sticky is not None:
        given, key = _key(route.sticky), f"${short}_key"
        yield from _map(given, key, given, {"": "$request_id"})
    yield f'  split_clients "{shared.salt(route)}{key}" ${short}_share {{'
    found = list(shared.ranges(route))
    for first, end, arm in found[:-1]:
        yield f"    {100 * (end - first) / BUCKETS:.2f}% {shared.pool(short, route, arm)};"
    yield f"    * {shared.pool(short, route, found[-1][2])};"
    yield "  }"
    if route.override:
        header = shared.word(route.override, "override")
        names = {shared.word(a.name, "arms.name"): shared.pool(short, route, a) for a in route.arms}
        share = f"${short}_share"
        yield from _map(_header(header), f"${short}_arm", share, names)
    for number, name in enumerate(_headers(route)):
        texts = {
            shared.pool(short, route, arm): shared.value(arm.headers[name], "headers")
            for arm in route.arms
            if name in arm.headers
        }
        own = f"${short}_header{number}"
        yield from _map(_chosen(short, route), own, _header(name), texts)


def _sampled(short: str, route: Route) -> Iterator[str]:
    """What says whether a shadow gets a request, and how many requests a route takes."""
    for number, shadow in enumerate(route.shadows):
        if shadow.share < 1:
            yield f'  split_clients "{number}$request_id" ${short}_shadow{number} {{'
            yield f"    {shadow.share * 100:.2f}% 1;"
            yield '    * "";'
            yield "  }"
    if route.limit is not None and route.limit.rate:
        rate = route.limit.rate
        said = f"{round(rate)}r/s" if rate >= 1 else f"{max(1, round(rate * _MINUTE))}r/m"
        yield f'  limit_req_zone "all" zone={short}:64k rate={said};'


def _map(given: str, made: str, default: str, values: Mapping[str, str]) -> Iterator[str]:
    yield f"  map {given} {made} {{"
    yield f"    default {default};"
    for value, text in values.items():
        yield f'    "{value}" "{text}";'
    yield "  }"


def _header(name: str) -> str:
    return f"$http_{name.lower().replace('-', '_')}"


def _key(sticky: Sticky) -> str:
    name = shared.word(sticky.name, "sticky.name")
    if sticky.source is Source.COOKIE:
        return f"$cookie_{name}"
    return _header(name)


def _upstream(short: str, route: Route, arm: Arm) -> Iterator[str]:
    breaker = route.breaker
    found = shared.servers(arm, arm.name)
    others = []
    if route.fallback and route.fallback != arm.name:
        others = shared.servers(shared.arm_of(route, route.fallback), route.fallback)
    yield f"  upstream {shared.pool(short, route, arm)} {{"
    yield f"    zone {shared.pool(short, route, arm)} 64k;"
    yield "    least_conn;"
    for server in [*found, *others]:
        address = server.address if server.port else f"unix:{server.host}"
        backup = "" if server.near and server in found else " backup"
        yield (
            f"    server {address} max_fails={breaker.failures} fail_timeout="
            f"{max(1, round(breaker.rest_s))}s max_conns={breaker.outstanding}{backup};"
        )
    yield "    keepalive 64;"
    yield "  }"


def _server(routes: list[tuple[str, Route]], host: str, listen: Listen) -> Iterator[str]:
    """A server block of a host; it also has the routes of any host."""
    ours = [(short, route) for short, route in routes if route.host in {host, ""}]
    yield "  server {"
    yield f"    listen {shared.bound(listen)}{'' if host else ' default_server'};"
    yield f"    server_name {shared.word(host, 'host') if host else '_'};"
    seen: set[str] = set()
    for short, route in ours:
        for path in shared.paths(route):
            for kind in (f"= {path}", f"{path}/") if path else ("/",):
                if kind not in seen:  # of equals the first
                    seen.add(kind)
                    yield f"    location {kind} {{"
                    yield from (f"      {line};" for line in _passed(short, route))
                    yield "    }"
        yield from _mirrors(short, route)
    if "/" not in seen:
        yield "    location / { return 404; }"
    yield "  }"


def _passed(short: str, route: Route) -> Iterator[str]:
    """How requests of a route are passed on."""
    limit, retries = route.limit, route.retries
    if limit is not None and limit.rate:
        yield f"limit_req zone={short} burst={max(0, limit.burst - 1)} nodelay"
    for number, _ in enumerate(route.shadows):
        yield f"mirror /_modelworks/{short}/{number}"
    if route.timeout_s:
        yield f"proxy_read_timeout {round(route.timeout_s * 1000)}ms"
    if retries.most:
        statuses = " ".join(f"http_{status}" for status in retries.statuses)
        yield f"proxy_next_upstream error timeout non_idempotent {statuses}"
        yield f"proxy_next_upstream_tries {retries.most + 1}"
    else:
        yield "proxy_next_upstream off"
    yield "proxy_set_header Host $http_host"
    yield 'proxy_set_header Connection ""'
    for number, name in enumerate(_headers(route)):
        yield f"proxy_set_header {name} ${short}_header{number}"
    tls = {server.tls for arm in route.arms for server in shared.servers(arm, arm.name)}
    if len(tls) > 1:
        raise InvalidError(f"{route.name}: arms with https and without", field="arms")
    scheme = "https" if True in tls else "http"
    yield f"proxy_pass {scheme}://{_chosen(short, route)}"
    if True in tls:
        yield "proxy_ssl_verify on"
        yield "proxy_ssl_server_name on"
        yield f"proxy_ssl_trusted_certificate {_AUTHORITIES}"


def _chosen(short: str, route: Route) -> str:
    return f"${short}_arm" if route.override else f"${short}_share"


def _headers(route: Route) -> list[str]:
    """Names of the headers that some arm gets."""
    names = {name: None for arm in route.arms for name in arm.headers}
    return [shared.word(name, "headers") for name in names]


def _mirrors(short: str, route: Route) -> Iterator[str]:
    for number, shadow in enumerate(route.shadows):
        name = shared.pool(short, route, shared.arm_of(route, shadow.arm))
        yield f"    location = /_modelworks/{short}/{number} {{"
        yield "      internal;"
        if shadow.share < 1:
            yield f'      if (${short}_shadow{number} = "") {{ return 204; }}'
        yield f"      proxy_pass http://{name}$request_uri;"
        yield "    }"
