"""How many submissions one core writes down durably: SQLite beside a journal of our own.

    python benchmarks/jobs/journals.py [FOLDER]

Each row: submissions of 700 bytes in groups of so many, each group made durable before the next.
"""

import os
import sqlite3
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

BODY = os.urandom(700)
SECONDS = 2.0


def journal(folder: Path) -> Callable[[Iterable[int]], None]:
    """Length, checksum, bytes; one fdatasync a group."""
    handle = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(group: Iterable[int]) -> None:
        parts = []
        for number in group:
            record = struct.pack("<Q", number) + BODY
            parts.append(struct.pack("<II", len(record), zlib.crc32(record)) + record)
        os.write(handle, b"".join(parts))
        os.fdatasync(handle)

    return write


def sqlite(folder: Path) -> Callable[[Iterable[int]], None]:
    """A row and its body, WAL, synchronous=FULL; one transaction a group."""
    base = sqlite3.connect(folder / "jobs.sqlite", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE jobs(seq INTEGER PRIMARY KEY, id TEXT UNIQUE, state TEXT)")
    base.execute("CREATE TABLE inputs(seq INTEGER PRIMARY KEY, body BLOB)")
    base.execute("CREATE INDEX waiting ON jobs(seq) WHERE state = 'queued'")

    def write(group: Iterable[int]) -> None:
        base.execute("BEGIN IMMEDIATE")
        for number in group:
            base.execute("INSERT INTO jobs VALUES(?, ?, 'queued')", (number, f"{number:032x}"))
            base.execute("INSERT INTO inputs VALUES(?, ?)", (number, BODY))
        base.execute("COMMIT")

    return write


def main() -> None:
    """Print a table."""
    root = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{'group':>6} {'way':>8} {'per second':>11} {'CPU us each':>12} {'ms a group':>11}")
    for size in (1, 8, 64, 256):
        for name, way in (("journal", journal), ("sqlite", sqlite)):
            with tempfile.TemporaryDirectory(dir=root) as folder:
                write = way(Path(folder))
                began, cpu, done = time.perf_counter(), time.process_time(), 0
                while time.perf_counter() - began < SECONDS:
                    write(range(done, done + size))
                    done += size
                took, spent = time.perf_counter() - began, time.process_time() - cpu
            each, group = 1e6 * spent / done, 1e3 * took * size / done
            print(f"{size:6} {name:>8} {done / took:11.0f} {each:12.1f} {group:11.2f}")


if __name__ == "__main__":
    main()
