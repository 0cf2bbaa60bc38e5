"""A cluster over its API, by the official client: get, list, apply, delete, and logs."""

import json
from collections.abc import Mapping
from typing import Any, Final

import urllib3
import yaml
from kubernetes import client, config

from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError, UnsupportedError
from modelworks.ext.targets.kubernetes.failures import explain, one_line
from modelworks.ext.targets.kubernetes.kinds import BY_NAME, POD, Kind
from modelworks.ext.targets.kubernetes.objects.asked import Object
from modelworks.ext.targets.kubernetes.settings import Settings

MANAGER: Final = "modelworks"
"""Our name among those who manage fields of an object."""
OLDEST: Final = (1, 25)
_UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError)
"""What the client lets through of a file that is none."""
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0
_PAGE: Final = 500
_PAGES: Final = 20
_LOG_LINES: Final = 20
_LOG_BYTES: Final = 16_384


class Cluster:
    """One namespace of it. The first call connects.

    Args:
        settings: of the target.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None

    def get(self, kind: Kind, name: str) -> Object | None:
        """One object; None = there is none."""
        try:
            return self._json("GET", kind, name)
        except NotFoundError:
            return None
        except UnsupportedError:
            if kind.brought:
                return None
            raise

    def list(self, kind: Kind, **query: str) -> list[Object]:
        """All of a kind in the namespace that are asked for; none of an unknown kind."""
        found: list[Object] = []
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            try:
                page = self._json("GET", kind, "", {**query, "limit": str(_PAGE), **more})
            except (NotFoundError, UnsupportedError):
                return found
            # Members of a list do not say what they are.
            found += [{"apiVersion": kind.api, "kind": kind.name, **one} for one in page["items"]]
            more = {"continue": page["metadata"].get("continue") or ""}
            if not more["continue"]:
                break
        return found

    def apply(self, wanted: Object, *, force: bool, manager: str = MANAGER) -> Object:
        """Server-side: what others say beside ours stays.

        Args:
            wanted: all that `manager` says of it.
            force: what another one says of the same fields is taken over.
            manager: who says it.

        Raises:
            ConflictError: others say something else of the same fields.
            InvalidError: the cluster refuses it.
        """
        kind = BY_NAME[wanted["kind"]]
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return self._json("PATCH", kind, wanted["metadata"]["name"], query, json.dumps(wanted))

    def delete(self, found: Object) -> None:
        """This very object, and in the end what it made; gone is quiet."""
        kind = BY_NAME[found["kind"]]
        body: Object = {"propagationPolicy": "Foreground"}
        if found["metadata"].get("uid"):
            body["preconditions"] = {"uid": found["metadata"]["uid"]}
        try:
            self._json("DELETE", kind, found["metadata"]["name"], {}, body)
        except NotFoundError:
            return

    def logs(self, pod: str, container: str, *, previous: bool) -> str:
        """The last lines; "" = there are none to be had."""
        query = {
            "container": container,
            "previous": "true" if previous else "false",
            "tailLines": str(_LOG_LINES),
            "limitBytes": str(_LOG_BYTES),
        }
        status, body = self._ask("GET", f"{self._path(POD, pod)}/log", query)
        return body.decode(errors="replace") if status == 200 else ""

    def close(self) -> None:
        """Give the connections back. Twice is quiet."""
        if self._client is not None:
            self._client.rest_client.close()
            self._client = None

    def _path(self, kind: Kind, name: str) -> str:
        return kind.path(self._settings.namespace, name)

    def _json(
        self,
        method: str,
        kind: Kind,
        name: str,
        query: Mapping[str, str] | None = None,
        body: str | Object | None = None,
    ) -> Object:
        status, answer = self._ask(method, self._path(kind, name), query or {}, body)
        what = f"{kind.name.lower()} {name}".strip()
        if not 200 <= status < 300:
            raise explain(status, answer, what, kind.brought)
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UnavailableError(f"{what}: what answers is no Kubernetes: {_start(answer)}")
        return found

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: str | Object | None = None,
    ) -> tuple[int, bytes]:
        if self._client is None:
            found = self._connected()
            self._check(found)
            self._client = found
        return self._send(self._client, method, path, query, body)

    @staticmethod
    def _send(
        api: Any,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: str | Object | None = None,
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        if body is not None:
            form = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
            headers["Content-Type"] = form
        try:
            asked = api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = api.call_api(*asked, _request_timeout=(_CONNECT_S, _ANSWER_S))
            return int(answer.status), bytes(answer.read())
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            raise UnavailableError(
                f"the cluster does not answer: {one_line(str(error))}", retry_after=5
            ) from None

    def _connected(self) -> Any:
        found = client.Configuration()
        said = self._settings
        try:
            try:
                config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=said.kubeconfig or None,
                    context=said.context or None,
                    client_configuration=found,
                    persist_config=False,
                )
            except config.ConfigException:
                if said.kubeconfig or said.context:
                    raise
                config.load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=found
                )
        except (config.ConfigException, OSError, *_UNREADABLE) as error:
            words = f"no way to a cluster: {one_line(str(error)).removesuffix('.')}"
            if not said.kubeconfig and not said.context:  # of another machine it may be known
                raise UnavailableError(
                    f"{words}; target.settings.kubeconfig names the file that leads to one"
                ) from None
            name = "context" if said.context else "kubeconfig"
            raise InvalidError(
                f"target.settings.{name}: {words}; `kubectl config get-contexts` shows what there "
                "is",
                field=f"target.settings.{name}",
            ) from None
        found.retries = False  # whoever asked tries again, with a back-off
        return client.ApiClient(found)

    def _check(self, api: Any) -> None:
        status, body = self._send(api, "GET", "/version")
        if status != 200:
            raise explain(status, body, "version")
        try:
            said = json.loads(body)
            version = int(said["major"]), int(said["minor"].rstrip("+"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnavailableError(
                f"what answers is no Kubernetes: {_start(body)}", retry_after=30
            ) from None
        if version < OLDEST:
            raise UnsupportedError(
                f"the cluster is Kubernetes {version[0]}.{version[1]}, and 1.25 is the oldest "
                "that its objects are made for"
            )


def _start(body: bytes) -> str:
    return one_line(body[:200].decode(errors="replace"))
