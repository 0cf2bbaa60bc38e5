"""Docker Compose as a program: version 2, which is a plug-in of `docker`, or version 1."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from modelworks.core.errors import InvalidError, MissingExtraError, UnavailableError
from modelworks.ext.targets.containers.engine import Engine

_ASKED_S = 30


@cache
def program() -> tuple[str, ...]:
    """The command that it begins with.

    Raises:
        MissingExtraError: there is neither.
    """
    docker = shutil.which("docker")
    if docker is not None:
        asked = subprocess.run(
            [docker, "compose", "version"], capture_output=True, timeout=_ASKED_S, check=False
        )
        if asked.returncode == 0:
            return (docker, "compose")
    alone = shutil.which("docker-compose")
    if alone is None:
        raise MissingExtraError("target 'compose'", "compose", "Docker Compose, a program")
    return (alone,)


def run(
    engine: Engine, file: Path, project: str, words: Sequence[str], seconds: float, *, holding: int
) -> None:
    """Let it do something with a file.

    Args:
        engine: where.
        file: of the project.
        project: its name.
        words: `up`, `-d`, ...
        seconds: it may take.
        holding: descriptor of a lock, which it holds as long as it runs, whatever becomes of us.

    Raises:
        InvalidError: it refuses the file, or a port is taken.
        UnavailableError: it failed, or took too long.
    """
    command = [*program(), "-p", project, "-f", str(file), *words]
    told = {"DOCKER_HOST": engine.address} if engine.address else {}
    if engine.certificates:
        told |= {"DOCKER_CERT_PATH": engine.certificates, "DOCKER_TLS_VERIFY": "1"}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **told, "COMPOSE_IGNORE_ORPHANS": "1"},
            cwd=file.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            pass_fds=(holding,),
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{words[0]} of {project} took more than {seconds:g} s") from None
    if done.returncode == 0:
        return
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = " | ".join(lines[-4:])[-600:]
    if "port is already allocated" in said or "address already in use" in said:
        raise InvalidError(
            f"{project}: somebody else has the port: {said}. Say another in access.port",
            field="access.port",
        )
    raise UnavailableError(f"{project}: Docker Compose ended with {done.returncode}: {said}")
