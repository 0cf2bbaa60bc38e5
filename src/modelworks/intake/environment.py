"""An importer's own environment: asked for in the sandbox, judged and made by the parent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelworks.core.errors import RefusedError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.core.seams import Importer, NeedsEnvironment
from modelworks.plugins.load import load
from modelworks.sandbox import environments


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job answers that cannot go on with the libraries that are installed here.

    Attributes:
        importer: that is to read the file.
        requirements: lines.
    """

    importer: str
    requirements: tuple[str, ...]


def needs(importer: Importer, file: Path, options: ImportOptions) -> Needs | None:
    """What the importer wants for this file; None where this environment does. In the sandbox.

    Raises:
        InvalidError: the file names requirements that are none.
        RefusedError: it names some, and the owner did not vouch for it.
    """
    if not isinstance(importer, NeedsEnvironment):
        return None
    lines = environments.requirements(importer.requirements(file, options))
    return Needs(importer.name, lines) if lines else None


def prepared(
    wanted: Needs, options: ImportOptions, root: Path | None, say: Callable[[str], None]
) -> Path:
    """The Python of the environment that a job asked for; made where it is not there.

    The job read a file that nobody vouched for, so its word is not taken for what to install:
    without `trust` it gets what the importer itself pins, and nothing else.

    Raises:
        RefusedError: libraries that the file names, and the owner did not vouch for it.
        UnsupportedError: the caller keeps no environments.
        InvalidError: there is no such environment to be had.
        UnavailableError: no network, a full disk, no time.
    """
    lines = environments.requirements(wanted.requirements)
    own = getattr(load("importers", wanted.importer), "pinned", ())
    if not options.trust and lines not in {environments.requirements(pins) for pins in own}:
        raise RefusedError(
            f"the file brings {len(lines)} requirements of its own, and libraries are code: "
            "--trust, by which you vouch for the file, installs them in an environment of its own",
            field="trust",
        )
    if root is None:
        raise UnsupportedError(
            f"the importer '{wanted.importer}' reads in an environment of its own, and no folder "
            "for it is given"
        )
    return environments.make(lines, root, say)
