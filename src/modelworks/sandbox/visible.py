"""Makes the running Modelworks, and its plug-ins, visible in an environment of another's libraries.

Links, not copies: to the packages and to their metadata, so that entry points are found there too,
for wheels and for editable installs alike.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

_GROUPS = "modelworks."


@dataclass(frozen=True, slots=True)
class Visible:
    """A folder of links.

    Attributes:
        folder: for PYTHONPATH.
        targets: what the links lead to.
    """

    folder: Path
    targets: tuple[Path, ...]


def show_ourselves(root: Path) -> Visible:
    """A folder below `root` with links to Modelworks and to every package that plugs into it.

    Found by what it leads to, so that a newer Modelworks gets a folder of its own.

    Raises:
        OSError: it cannot be written.
    """
    links = _links()
    text = "\n".join(f"{name} {target}" for name, target in sorted(links.items()))
    folder = root / f".visible-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = Path(tempfile.mkdtemp(prefix=".visible-", dir=root))
        for name, target in links.items():
            (fresh / name).symlink_to(target)
        try:
            os.rename(fresh, folder)  # noqa: PTH104 - atomic, and it fails where another was first
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not folder.is_dir():
                raise
    return Visible(folder, tuple(links.values()))


def _links() -> dict[str, Path]:
    """Name in the folder -> what it leads to."""
    found: dict[str, Path] = {}
    for distribution in metadata.distributions():
        points = [p for p in distribution.entry_points if p.group.startswith(_GROUPS)]
        if not points:
            continue
        about = next((f for f in distribution.files or () if f.name == "entry_points.txt"), None)
        if about is not None:
            folder = Path(str(distribution.locate_file(about))).resolve().parent
            found.setdefault(folder.name, folder)
        for top in {point.module.partition(".")[0] for point in points}:
            spec = util.find_spec(top)
            if spec is not None and spec.submodule_search_locations:
                found.setdefault(top, Path(next(iter(spec.submodule_search_locations))).resolve())
            elif spec is not None and spec.origin:
                found.setdefault(Path(spec.origin).name, Path(spec.origin).resolve())
    return found
