"""Asks every installed importer whether it knows a file."""

from dataclasses import dataclass
from pathlib import Path

from modelworks.core.errors import MissingExtraError
from modelworks.core.seams import Importer, Sniffed
from modelworks.plugins.load import available, load


@dataclass(frozen=True, slots=True)
class Asked:
    """What the importers say of a file.

    Attributes:
        best: the one that is surest, and what it takes the file for; None = nobody knows it.
        formats: that they read, sorted.
        absent: who could not be asked and why, to stand at the end of a sentence; "" = nobody.
    """

    best: tuple[Importer, Sniffed] | None
    formats: tuple[str, ...]
    absent: str


def ask(file: Path, but: str = "") -> Asked:
    """The importer that is surest of a file or folder; of two alike the first by name.

    Args:
        file: to be read.
        but: name of the importer that is not asked.
    """
    best: tuple[Importer, Sniffed] | None = None
    known: list[str] = []
    absent: list[str] = []
    for name in sorted(available("importers")):
        if name == but:
            continue
        try:
            importer: Importer = load("importers", name)()
        except (MissingExtraError, ImportError, AttributeError) as error:  # broken plug-ins too
            absent.append(f"{name} ({error})")
            continue
        known += importer.formats
        sniffed = importer.sniff(file)
        if sniffed is not None and (best is None or sniffed.confidence > best[1].confidence):
            best = importer, sniffed
    missing = f"; not installed: {', '.join(absent)}" if absent else ""
    return Asked(best, tuple(sorted(known)), missing)
