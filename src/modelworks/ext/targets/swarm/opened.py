"""Deployments on a Swarm, through one of its managers."""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from docker.errors import APIError, NotFound

from modelworks.core.deployment import Observed, Rendered, Wanted
from modelworks.core.errors import ConflictError, InvalidError, UnavailableError
from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import (
    Address,
    Container,
    container_of,
)
from modelworks.ext.targets.containers.engine import Engine, asked
from modelworks.ext.targets.swarm import render, secrets, tasks

_LOOK_S: Final = 0.1
_ENDS_S: Final = 15.0
_TRIES: Final = 5
_OVER: Final = ("", "completed", "rollback_completed")


class OpenSwarm:
    """See `OpenTarget`.

    Args:
        engine: a manager.
        host: tasks listen on their nodes.
    """

    def __init__(self, engine: Engine, *, host: bool) -> None:
        self._engine = engine
        self._host = host

    def render(self, wanted: Wanted) -> tuple[Rendered, ...]:
        """See `OpenTarget.render`."""
        return render.render(wanted, host=self._host)

    def apply(self, wanted: Wanted) -> None:
        """See `OpenTarget.apply`."""
        container = container_of(wanted, wanted.shares[0].revision, own_network=not self._host)
        self._check(container)
        held = secrets.have(self._engine, container)
        body = render.service(wanted, container, held, host=self._host)
        applied = json.dumps(body, sort_keys=True, separators=(",", ":"))
        whole = {**body, "Labels": {**body["Labels"], render.APPLIED: applied}}
        for _ in range(_TRIES):
            there = self._inspect(wanted.name)
            if there is None:
                done = self._create(whole)
            elif self._as_wanted(there, applied):
                used = {one["SecretID"] for one in held.values()}
                if _settled(there):
                    secrets.sweep(self._engine, wanted.name, used)
                return
            else:
                done = self._update(there, whole)
            if done:
                return
            time.sleep(_LOOK_S)
        raise UnavailableError(f"{body['Name']}: somebody else changes this service all the time")

    def observe(self, name: str) -> Observed | None:
        """See `OpenTarget.observe`."""
        there = self._inspect(name)
        if there is None:
            return None
        spec = there["Spec"]
        with asked(f"the tasks of {spec['Name']}"):
            listed = self._engine.api.tasks(filters={"service": there["ID"]})
        update = there.get("UpdateStatus") or {}
        found = tasks.replicas(listed, self._engine.words)
        settled = _settled(there)
        return Observed(
            self._url(spec),
            found,
            tuple(render.differences(_applied(there), spec)),
            "" if settled or update.get("State") == "updating" else str(update.get("Message", "")),
            settled,
        )

    def delete(self, name: str) -> None:
        """See `OpenTarget.delete`."""
        there = self._inspect(name)
        if there is not None:
            name_there = str(there["Spec"]["Name"])
            with asked(f"the service {name_there}"), contextlib.suppress(NotFound):
                self._engine.api.remove_service(there["ID"])
            grace = there["Spec"]["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod", 0)
            self._until_gone(name, grace / 10**9 + _ENDS_S)
        secrets.sweep(self._engine, name, set())

    def _check(self, container: Container) -> None:
        if not self._host and not container.address.public:
            raise InvalidError(
                "the routing mesh answers on every address of every node: say access.expose: "
                "public, or target.settings.network: host",
                field="access.expose",
            )

    def _inspect(self, deployment: str) -> dict[str, Any] | None:
        name = render.service_name(deployment)
        with asked(f"the service {name}"):
            try:
                found: dict[str, Any] = self._engine.api.inspect_service(name)
            except NotFound:
                return None
            except APIError as error:
                if "not a swarm manager" in str(error):
                    raise InvalidError(
                        "this engine is no manager of a Swarm: docker swarm init, or say another "
                        "in target.settings.host",
                        field="target.settings.host",
                    ) from None
                raise
        return found

    def _as_wanted(self, there: Mapping[str, Any], applied: str) -> bool:
        spec = there["Spec"]
        same = (spec.get("Labels") or {}).get(render.APPLIED) == applied
        return same and not list(render.differences(json.loads(applied), spec))

    def _create(self, body: Mapping[str, Any]) -> bool:
        try:
            with asked(f"the service {body['Name']}"):
                self._engine.api.create_service(
                    body["TaskTemplate"],
                    name=body["Name"],
                    labels=body["Labels"],
                    mode=body["Mode"],
                    update_config=body["UpdateConfig"],
                    endpoint_spec=body.get("EndpointSpec"),
                )
        except ConflictError:  # another process was first
            return False
        return True

    def _update(self, there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        try:
            with asked(f"the service {body['Name']}"):
                self._engine.api.update_service(
                    there["ID"],
                    there["Version"]["Index"],
                    body["TaskTemplate"],
                    name=body["Name"],
                    labels=body["Labels"],
                    mode=body["Mode"],
                    update_config=body["UpdateConfig"],
                    endpoint_spec=body.get("EndpointSpec"),
                )
        except UnavailableError as error:
            if "out of sequence" not in error.message:
                raise
            return False
        return True

    def _until_gone(self, deployment: str, seconds: float) -> None:
        """Wait for the containers of a service that was removed; those of other nodes end alone."""
        end = time.monotonic() + seconds
        while self._engine.containers(deployment) and time.monotonic() < end:
            time.sleep(_LOOK_S)

    def _url(self, spec: Mapping[str, Any]) -> str:
        task = spec["TaskTemplate"]["ContainerSpec"]
        port, _, who = str((task.get("Labels") or {}).get(names.NETWORK, "")).partition("-")
        if not port.isdigit():
            return ""
        tls = any("_TLS_CERT=" in said for said in task.get("Env") or [])
        return Address(int(port), who == "public", tls).url(self._engine.name)


def _applied(there: Mapping[str, Any]) -> Any:
    said = (there["Spec"].get("Labels") or {}).get(render.APPLIED, "{}")
    try:
        return json.loads(said)
    except ValueError:
        return {"Labels": {render.APPLIED: "as it was"}}


def _settled(there: Mapping[str, Any]) -> bool:
    return str((there.get("UpdateStatus") or {}).get("State", "")) in _OVER
