"""Backups for tests: registries with something in every table, and files rewritten with care."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

from sqlalchemy import JSON, BigInteger, Boolean, Integer, LargeBinary, insert

from modelworks.control.backup.container import Writer
from modelworks.control.backup.manifest import Manifest, TablePart, sum_of, to_bytes
from modelworks.control.service import Factory
from modelworks.core import codec
from modelworks.core.digest import of_bytes
from modelworks.db.dump import PASSING, snapshot
from modelworks.db.tables import Base
from modelworks.testing.candidates import candidate

ODD = "Zürich ✓ \\ \" ' \t%s ;--"


def quiet(_step: str) -> None:
    """Nobody listens."""


def publish(factory: Factory, work: Path, contents: list[bytes], **more) -> None:
    """A version of `fraud` of each content, the last one its champion."""
    for number, content in enumerate(contents):
        factory.publish(candidate(work / str(number), content, alias="champion", **more))


def fill_rest(factory: Factory) -> None:
    """A row in every table that still has none, with odd values; also of another tenant."""
    with factory._database.writer.begin() as connection:
        for table in Base.metadata.sorted_tables:
            if connection.execute(table.select()).first() is None:
                connection.execute(insert(table), _rows(connection, table))


def _rows(connection, table):
    """One row each of two tenants, or one that belongs to a row of the table it refers to."""
    rows = [_row(table, tenant) for tenant in ("a", "b")]
    for key in table.foreign_key_constraints:
        parent = connection.execute(key.referred_table.select()).mappings().first()
        told = {element.parent.name: parent[element.column.name] for element in key.elements}
        rows = [rows[0] | told]
    return rows


def _row(table, tenant):
    row = {}
    for column in table.columns:
        if column.name == "tenant":
            row[column.name] = tenant
        elif isinstance(column.type, JSON):
            row[column.name] = {"a": [1, 2.5, None, True, ODD], "b": {}}
        elif isinstance(column.type, LargeBinary):
            row[column.name] = bytes(range(256))
        elif isinstance(column.type, BigInteger):
            row[column.name] = 2**62 + 1
        elif isinstance(column.type, Integer):
            row[column.name] = 7
        elif isinstance(column.type, Boolean):
            row[column.name] = True
        else:
            row[column.name] = ODD[: column.type.length or None]
    return row


def rows(factory: Factory) -> dict[str, list[bytes]]:
    """Every row that a backup keeps, in an order that no database has a say in."""
    with snapshot(factory._database, quiet) as taken:
        return {name: sorted(taken.lines(name)) for name, _ in taken.tables()}


def empty(factory: Factory) -> bool:
    """Whether no table but those of what passes has a row."""
    return not any(rows(factory).values()) and set(Base.metadata.tables) >= PASSING


def parts(path: Path) -> dict[str, bytes]:
    """A backup's parts, as `tar` reads them."""
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar.getmembers()}


def write(path: Path, found: dict[str, bytes], **more) -> Path:
    """A backup of these parts whose digests are all right, as one writes who wants to deceive.

    Args:
        path: made.
        found: the parts; those of the manifest are made anew from the others.
        more: fields of the manifest that are others.
    """
    manifest = json.loads(found["backup.json"])
    tables = []
    for table in manifest["tables"]:
        data = found.get(f"rows/{table['name']}.jsonl")
        if data is not None:
            tables.append({**table, "part": _part(data)})
    manifest |= {"tables": tables, "files": _part(found["files.jsonl"])} | more
    head = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    out = BytesIO()
    writer = Writer(out, 0)
    writer.add("backup.json", len(head), [head])
    writer.add("backup.sha256", len(sum_of(head)), [sum_of(head)])
    for name in [f"rows/{table['name']}.jsonl" for table in tables] + ["files.jsonl"]:
        writer.add(name, len(found[name]), [found[name]])
    for name, data in found.items():
        if name.startswith("files/"):
            writer.add(name, len(data), [data])
    writer.end()
    path.write_bytes(out.getvalue())
    return path


def _part(data):
    return {"digest": of_bytes(data), "lines": data.count(b"\n"), "size": len(data)}


def manifest_of(found: dict[str, bytes]) -> Manifest:
    """The manifest among the parts."""
    manifest = codec.decode(Manifest, json.loads(found["backup.json"]))
    assert to_bytes(manifest) == found["backup.json"]
    assert all(isinstance(table, TablePart) for table in manifest.tables)
    return manifest
