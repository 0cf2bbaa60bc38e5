"""The kind `Route` as an HTTPRoute of the Gateway API, or a VirtualService of Istio. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from modelworks.core.deployment import WantedRoute
from modelworks.core.errors import InvalidError
from modelworks.ext.targets.kubernetes.objects.asked import ROUTE, Object, check_labels
from modelworks.ext.targets.kubernetes.settings import Settings
from modelworks.protocol.manifest.route import RouteSpec

_ISTIO: Final = "istio"


def objects(route: WantedRoute, settings: Settings) -> list[Object]:
    """What carries a route.

    Raises:
        InvalidError: the settings do not say what carries routes.
    """
    if not settings.routing:
        raise InvalidError(
            "target.settings.routing: a route wants `gateway` (Gateway API) or `istio`, and the "
            "name of a Gateway in target.settings.gateway",
            field="target.settings.routing",
        )
    check_labels(route.labels)
    asked = _Asked(route, RouteSpec.model_validate(route.spec), settings)
    return [_virtual_service(asked) if settings.routing == _ISTIO else _http_route(asked)]


@dataclass(frozen=True, slots=True)
class _Asked:
    route: WantedRoute
    spec: RouteSpec
    settings: Settings

    def head(self) -> Object:
        """`metadata`."""
        labels = {
            "app.kubernetes.io/name": self.route.name,
            "app.kubernetes.io/managed-by": "modelworks",
            **self.route.labels,
            ROUTE: self.route.name,
        }
        head: Object = {
            "name": self.route.name,
            "namespace": self.settings.namespace,
            "labels": labels,
        }
        if self.route.description:
            head["annotations"] = {"modelworks.description": self.route.description}
        return head

    def port(self, deployment: str) -> int:
        """Of a deployment that the spec names."""
        return self.route.ports[deployment]

    @property
    def cookie(self) -> str:
        """Of ours, which names the backend; "" = nobody is kept."""
        sticky = self.spec.sticky
        return f"{sticky.cookie}-backend" if sticky and sticky.cookie else ""

    def kept(self) -> Iterator[str]:
        """Backends whose callers stay with them."""
        if self.cookie:
            yield from (one.deployment for one in self.spec.backends if one.weight)

    def keeping(self, deployment: str) -> str:
        """`Set-Cookie` of a backend."""
        return f"{self.cookie}={deployment}; Path={self.spec.path}; HttpOnly; SameSite=Lax"

    def cookies(self, deployment: str) -> str:
        """Matches the header of a caller that is kept; a backend's name has no special signs."""
        return rf"^(.*;)?\s*{self.cookie}={deployment}(;.*)?$"


def _http_route(asked: _Asked) -> Object:
    namespace, _, name = asked.settings.gateway.rpartition("/")
    parent = {"name": name, **({"namespace": namespace} if namespace else {})}
    spec: Object = {"parentRefs": [parent]}
    if asked.spec.host:
        spec["hostnames"] = [asked.spec.host]
    whole = [_reference(asked, one.deployment, one.weight) for one in asked.spec.backends]
    rules = []
    for deployment in asked.kept():
        headers = [
            {"type": "RegularExpression", "name": "Cookie", "value": asked.cookies(deployment)}
        ]
        rules.append(_rule(asked, {"headers": headers}, [_plain(asked, deployment)]))
    spec["rules"] = [*rules, _rule(asked, {}, whole)]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": asked.head(),
        "spec": spec,
    }


def _plain(asked: _Asked, deployment: str) -> Object:
    return {"name": deployment, "port": asked.port(deployment)}


def _reference(asked: _Asked, deployment: str, weight: int) -> Object:
    found = {**_plain(asked, deployment), "weight": weight}
    if asked.cookie:
        added = [{"name": "Set-Cookie", "value": asked.keeping(deployment)}]
        found["filters"] = [
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": added}}
        ]
    return found


def _rule(asked: _Asked, match: Object, backends: list[Object]) -> Object:
    path = {"type": "PathPrefix", "value": asked.spec.path}
    rule: Object = {"matches": [{"path": path, **match}], "backendRefs": backends}
    mirror = asked.spec.mirror
    if mirror is not None:
        copied: Object = {"backendRef": _plain(asked, mirror.deployment)}
        if mirror.percent != 100:  # else gateways older than 1.3 do it too
            copied["percent"] = mirror.percent
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": copied}]
    if asked.spec.timeout_s is not None:
        rule["timeouts"] = {"request": _duration(asked.spec.timeout_s)}
    return rule


def _virtual_service(asked: _Asked) -> Object:
    rules = []
    for deployment in asked.kept():
        headers = {"cookie": {"regex": asked.cookies(deployment)}}
        to = [{"destination": _destination(asked, deployment)}]
        rules.append(_http(asked, {"headers": headers}, to))
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": asked.head(),
        "spec": {
            "hosts": [asked.spec.host or "*"],
            "gateways": [asked.settings.gateway],
            "http": [*rules, _http(asked, {}, list(_weighted(asked)))],
        },
    }


def _destination(asked: _Asked, deployment: str) -> Object:
    return {"host": deployment, "port": {"number": asked.port(deployment)}}


def _weighted(asked: _Asked) -> Iterator[Object]:
    for one in asked.spec.backends:
        found: Object = {
            "destination": _destination(asked, one.deployment),
            "weight": one.weight,
        }
        if asked.cookie:
            found["headers"] = {"response": {"add": {"set-cookie": asked.keeping(one.deployment)}}}
        yield found


def _http(asked: _Asked, match: Object, to: list[Object]) -> Object:
    path = asked.spec.path
    # Istio's prefix is one of letters: /fraud would take /fraudulent too.
    uris = [{"exact": path}, {"prefix": f"{path}/"}] if path != "/" else [{"prefix": path}]
    rule: Object = {"match": [{"uri": uri, **match} for uri in uris], "route": to}
    mirror = asked.spec.mirror
    if mirror is not None:
        rule["mirrors"] = [
            {
                "destination": _destination(asked, mirror.deployment),
                "percentage": {"value": mirror.percent},
            }
        ]
    if asked.spec.timeout_s is not None:
        rule["timeout"] = _duration(asked.spec.timeout_s)
    return rule


def _duration(seconds: float) -> str:
    """`3s`, `1s500ms`: both spell it so."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    parts = (f"{whole}s" if whole else "", f"{thousandths}ms" if thousandths else "")
    return "".join(parts)
