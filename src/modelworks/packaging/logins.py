"""Where the names of registries of images are kept on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path


def login_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The file that `docker login` writes (`DOCKER_CONFIG`); None = there is none."""
    found = os.environ if environ is None else environ
    folder = found.get("DOCKER_CONFIG") or "~/.docker"
    try:
        path = Path(folder).expanduser() / "config.json"
    except RuntimeError:  # a container's user without a home
        return None
    return path if path.is_file() else None
