"""The file behind the block of counters: its layout, and how a supervisor makes one."""

import os
import tempfile
from dataclasses import dataclass
from typing import Final

REGION: Final = 2048
"""Cells of 8 bytes a model and worker; what they mean is `statistics`'s business."""
GENERATING: Final = 1536
"""The first of 256 cells that count generations: see `generating.numbers`."""
MODELS: Final = 2048
"""Regions; a server that sees more (name, version) pairs in its life counts the rest in one."""
HEADER: Final = 4096
"""Bytes: the number of regions given out, then a process id a slot."""
SLOTS: Final = 256
NAME: Final = 256
"""Bytes of a region's name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie, in bytes."""

    workers: int

    @property
    def regions(self) -> int:
        """Where the first slot begins."""
        return HEADER + MODELS * NAME

    @property
    def size(self) -> int:
        """Of the whole block; pages that nobody wrote to take no memory."""
        return self.regions + self.workers * MODELS * REGION * 8


def shared_file(workers: int) -> int:
    """An unnamed file for a block; its descriptor is handed to the workers."""
    return memory_file("modelworks-statistics", Layout(workers).size)


def memory_file(name: str, size: int) -> int:
    """The descriptor of an unnamed file of zeros that processes can map together."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd
