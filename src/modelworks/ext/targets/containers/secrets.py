"""What secrets are, read where the reconciler runs, and put into a volume that replicas read.

A plain engine keeps no secrets. A volume is what it has that no `inspect` shows, that outlives a
restart, and that a remote engine takes as well; its files belong to the server's user alone.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from docker.errors import NotFound

from modelworks.ext.targets.containers import names
from modelworks.ext.targets.containers.container import IDLE, USER, Container
from modelworks.ext.targets.containers.engine import Engine, asked
from modelworks.ext.targets.sources import content
from modelworks.protocol.manifest.server import SECRETS

_USER: Final = int(USER.partition(":")[0])


def contents(container: Container) -> dict[str, bytes]:
    """All secrets of a replica, by their path in it."""
    return {
        path: content(PurePosixPath(path).name, source)
        for path, source in sorted(container.files.items())
    }


def fill(engine: Engine, container: Container, existing: str | None) -> None:
    """Have the volume of a revision's secrets, with what they are now.

    Args:
        engine: that has it.
        container: a replica of the revision.
        existing: id of a container that mounts the volume; None = there is none.
    """
    wanted = contents(container)
    if existing is not None and _read(engine, existing) == wanted:
        return
    volume = names.secrets(container.deployment, container.revision)
    labels = {names.DEPLOYMENT: container.deployment, names.REVISION: str(container.revision)}
    mount = {"Type": "volume", "Source": volume, "Target": SECRETS}
    body: dict[str, Any] = {
        "Image": container.image,
        "Entrypoint": list(IDLE),
        "Labels": {names.DEPLOYMENT: container.deployment},
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount]},
    }
    with asked(f"the volume {volume}"):
        engine.api.create_volume(volume, labels=labels)
        # Only through a container can files get into a volume; this one is never started.
        writer = engine.api.create_container_from_config(body)["Id"]
        try:
            engine.api.put_archive(writer, SECRETS, _archive(wanted))
        finally:
            engine.api.remove_container(writer, force=True)


def _read(engine: Engine, container: str) -> dict[str, bytes]:
    """What a container finds among its secrets."""
    with asked(f"the secrets of {container}"):
        try:
            stream, _ = engine.api.get_archive(container, SECRETS)
            data = b"".join(stream)
        except NotFound:
            return {}
    above = PurePosixPath(SECRETS).parent
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for one in archive:
            file = archive.extractfile(one) if one.isfile() else None
            if file is not None:
                found[str(above / one.name)] = file.read()
    return found


def _archive(wanted: Mapping[str, bytes]) -> bytes:
    """Files for nobody but the server's user."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {PurePosixPath(path).parent for path in wanted} - {PurePosixPath(SECRETS)}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(str(folder.relative_to(SECRETS)))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o500, _USER, _USER
            archive.addfile(entry)
        for path, data in wanted.items():
            entry = tarfile.TarInfo(str(PurePosixPath(path).relative_to(SECRETS)))
            entry.mode, entry.uid, entry.gid, entry.size = 0o400, _USER, _USER, len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
