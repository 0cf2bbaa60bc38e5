"""Secrets of Swarm that are made for a deployment.

A secret of Swarm never changes, so what a manifest calls one is a line of them. Which of them has
what is wanted is told by a salted digest in its labels.
"""

import base64
import hashlib
import hmac
import secrets as random
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from modelworks.core.errors import ConflictError, InvalidError
from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import Container
from modelworks.ext.targets.containers.engine import Engine, asked
from modelworks.ext.targets.sources import content
from modelworks.ext.targets.swarm.render import secret_name

_SEAL: Final = "modelworks.seal"
_PATH: Final = "modelworks.path"
_LARGEST: Final = 500_000  # Swarm's own limit is 500 KiB


def have(engine: Engine, container: Container) -> dict[str, dict[str, str]]:
    """Every secret of a replica as a secret of Swarm, made where it is not there: path -> names.

    Raises:
        InvalidError: there is nothing at a source, or it is too large.
    """
    if not container.files:
        return {}
    own = _own(engine, container.deployment)
    found = {}
    for path, source in sorted(container.files.items()):
        if source.secret:
            found[path] = _named(engine, source.secret)
            continue
        data = content(PurePosixPath(path).name, source)
        if len(data) > _LARGEST:
            raise InvalidError(f"{path}: Swarm keeps {_LARGEST} bytes at most", field="secrets")
        made = next((one for one in own if _is(one["Spec"], path, data)), None)
        found[path] = _reference(made) if made else _make(engine, container, path, data)
    return found


def sweep(engine: Engine, deployment: str, used: set[str]) -> None:
    """Remove the secrets of a deployment, but those with ids in `used`."""
    for one in _own(engine, deployment):
        if one["ID"] in used:
            continue
        with asked(f"the secret {one['Spec']['Name']}"):
            engine.api.remove_secret(one["ID"])


def _own(engine: Engine, deployment: str) -> list[Any]:
    with asked("the list of secrets"):
        filters = {"label": f"{names.DEPLOYMENT}={deployment}"}
        return list(engine.api.secrets(filters=filters))


def _named(engine: Engine, name: str) -> dict[str, str]:
    with asked("the list of secrets"):
        listed = engine.api.secrets(filters={"name": name})
    found = next((one for one in listed if one["Spec"]["Name"] == name), None)
    if found is None:
        raise InvalidError(
            f"this Swarm keeps no secret '{name}': docker secret create {name} FILE",
            field="secrets",
        )
    return _reference(found)


def _make(engine: Engine, container: Container, path: str, data: bytes) -> dict[str, str]:
    salt = random.token_hex(8)
    name = f"{secret_name(container.deployment, path)}-{salt}"
    labels = {
        names.DEPLOYMENT: container.deployment,
        _PATH: path,
        _SEAL: f"{salt}:{_digest(salt, data)}",
    }
    with asked(f"the secret {name}"):
        # The SDK's own encoding: it takes bytes only.
        made = engine.api.create_secret(name, data, labels=labels)
    identity = made.get("ID")
    if not identity:
        raise ConflictError(f"the secret {name} was not made")
    return {"SecretID": str(identity), "SecretName": name}


def _is(spec: Mapping[str, Any], path: str, data: bytes) -> bool:
    labels = spec.get("Labels") or {}
    salt, _, digest = str(labels.get(_SEAL, "")).partition(":")
    return labels.get(_PATH) == path and hmac.compare_digest(digest, _digest(salt, data))


def _digest(salt: str, data: bytes) -> str:
    return base64.b16encode(hashlib.scrypt(data, salt=salt.encode(), n=1 << 12, r=8, p=1)).decode()


def _reference(secret: Mapping[str, Any]) -> dict[str, str]:
    return {"SecretID": str(secret["ID"]), "SecretName": str(secret["Spec"]["Name"])}
