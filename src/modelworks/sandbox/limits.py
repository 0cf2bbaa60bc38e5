"""What a sandboxed job may use at most."""

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one job; every one is enforced by the kernel or by the parent.

    Attributes:
        memory_bytes: address space. Frameworks map much more than they use.
        cpu_seconds: CPU time of all threads together; 0 = no limit, for what lives on.
        wall_seconds: from start to answer; the parent kills the job when it is over.
        file_bytes: length of any one file that the job writes.
        disk_bytes: all that lies in the job's work folder.
        open_files: file descriptors.
        result_bytes: length of the job's answer and of each progress line.
        threads: that numeric libraries may start.
    """

    memory_bytes: int = 8 * GIB
    cpu_seconds: int = 600
    wall_seconds: float = 900.0
    file_bytes: int = 8 * GIB
    disk_bytes: int = 24 * GIB
    open_files: int = 512
    result_bytes: int = 16 << 20
    threads: int = 2
