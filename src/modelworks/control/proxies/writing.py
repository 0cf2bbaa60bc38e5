"""Writes the configuration of a proxy, unless a field would be lost on the way."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from modelworks.control.proxies.answers import of_snapshot
from modelworks.core.deployment import Rendered, Support
from modelworks.core.errors import UnsupportedError
from modelworks.core.files import replace_text
from modelworks.core.plans import Answer
from modelworks.core.proxies import Listen, RouteWriter
from modelworks.core.routes import Snapshot
from modelworks.plugins.load import available, load
from modelworks.protocol.routes import check


def writers() -> list[RouteWriter]:
    """All that are installed, by name."""
    return [writer_of(name) for name in sorted(available("routes"))]


def writer_of(name: str) -> RouteWriter:
    """One by name.

    Raises:
        NotFoundError: there is none.
    """
    found: RouteWriter = load("routes", name)()
    return found


def written(
    writer: RouteWriter, snapshot: Snapshot, listen: Listen
) -> tuple[tuple[Rendered, ...], tuple[Answer, ...]]:
    """The files, and what became of every field.

    Raises:
        InvalidError: the snapshot cannot be, or a name that the configuration cannot hold.
        UnsupportedError: a field that the proxy cannot honour, with all of them and their reasons.
    """
    check(snapshot)
    found = of_snapshot(writer, snapshot)
    lost = [one for one in found if one.support is Support.REFUSED]
    if lost:
        said = "; ".join(f"{one.path}: {one.how}" for one in lost)
        raise UnsupportedError(f"{writer.name} cannot carry these routes: {said}")
    return writer.write(snapshot, listen), found


def checked(writer: RouteWriter, files: Sequence[Rendered], program: str = "") -> None:
    """Let the program itself read the files, in a folder of their own.

    Raises:
        InvalidError: it does not take them.
        UnavailableError: it is not installed here.
    """
    with tempfile.TemporaryDirectory(prefix="modelworks-") as folder:
        kept(files, Path(folder))
        writer.check(Path(folder), program)


def kept(files: Sequence[Rendered], folder: Path) -> list[Path]:
    """Put files in their place, each by a rename: who watches one never sees half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in files:
        path = folder / file.path
        replace_text(path, file.text)
        paths.append(path)
    return paths
