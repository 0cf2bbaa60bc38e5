"""What stands first in a backup: what is inside, and the digest of every part."""

import json
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core import codec
from modelworks.core import digest as digests
from modelworks.core.errors import InvalidError, UnsupportedError

KIND: Final = "modelworks-backup"
LAYOUT: Final = 1
"""Of the file; another number is another arrangement of its parts."""

MANIFEST: Final = "backup.json"
SUM: Final = "backup.sha256"
"""The manifest's digest, as `sha256sum -c` reads it."""
FILES: Final = "files.jsonl"
"""The list of stored files: `["sha256:...", size]` a line, sorted."""

MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the file whose bytes the manifest answers for.

    Attributes:
        digest: `sha256:<hex>` of its bytes.
        size: bytes.
        lines: how many lines it has.
    """

    digest: str
    size: int
    lines: int


@dataclass(frozen=True, slots=True)
class TablePart:
    """The rows of a table.

    Attributes:
        name: of the table.
        columns: the order of the values in a line.
        part: the lines.
    """

    name: str
    columns: tuple[str, ...]
    part: Part

    @property
    def entry(self) -> str:
        """Its name in the file."""
        return f"rows/{self.name}.jsonl"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup's own description.

    Attributes:
        kind: `modelworks-backup`.
        layout: of the file.
        modelworks: the version that made it.
        schema: of the rows.
        made_ns: when the rows were what they are.
        tables: those that others refer to first.
        files: the list of stored files.
        stored: bytes of all stored files.
    """

    kind: str
    layout: int
    modelworks: str
    schema: str
    made_ns: int
    tables: tuple[TablePart, ...]
    files: Part
    stored: int

    @property
    def digest(self) -> str:
        """Names the backup: whoever keeps it elsewhere knows that no byte was changed."""
        return digests.of_bytes(to_bytes(self))

    def rows(self, table: str) -> int:
        """Rows of a table; 0 where the schema had no such table."""
        return sum(one.part.lines for one in self.tables if one.name == table)


def to_bytes(manifest: Manifest) -> bytes:
    """As it stands in the file."""
    return json.dumps(codec.encode(manifest), sort_keys=True, separators=(",", ":")).encode()


def sum_of(manifest: bytes) -> bytes:
    """The part after the manifest."""
    return f"{digests.of_bytes(manifest).removeprefix(digests.PREFIX)}  {MANIFEST}\n".encode()


def from_bytes(data: bytes, where: str) -> Manifest:
    """The manifest in a file's first part.

    Raises:
        InvalidError: no backup of ours.
        UnsupportedError: a newer Modelworks made it.
    """
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InvalidError(f"{where} is no backup of Modelworks", field="file")
    if found.get("layout") != LAYOUT:
        raise UnsupportedError(
            f"{where} was made by a newer Modelworks ({str(found.get('modelworks'))[:20]}): "
            "pip install --upgrade modelworks"
        )
    try:
        manifest = codec.decode(Manifest, found)
    except InvalidError as error:
        raise InvalidError(
            f"{where} is no whole backup of Modelworks: {MANIFEST}: {error.message}", field="file"
        ) from error
    if to_bytes(manifest) != data:
        raise InvalidError(f"{where}: {MANIFEST} was rewritten by another program", field="file")
    return manifest


def entry_of(digest: str) -> str:
    """The name of a stored file in a backup."""
    return f"files/{digest.removeprefix(digests.PREFIX)}"
