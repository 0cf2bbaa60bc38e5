"""Linux's own walls around one process, by raw system call: namespace, Landlock, seccomp.

Standard library only: ctypes speaks to libc, so that no build step and no privilege is needed.
Every wall that cannot be put up is reported with the kernel's reason, never passed over in silence.
"""

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_CLONE_THREAD, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00010000, 0x10000000, 0x40000000

# Landlock (include/uapi/linux/landlock.h). Rights by the ABI that brought them.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # those that a plain file may have
_FS_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_SCOPES = 0b11  # abstract unix sockets, signals: ABI 6

# Seccomp, as in the kernel's own headers seccomp.h and filter.h.
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _EPERM, _ENOSYS, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_X32 = 0x40000000
# Numbers of the forbidden calls: new processes and programs, sockets (a pair stays), other
# processes, mounts, namespaces, kernel keys and modules, the clock, and io_uring, which would do
# all of that behind the filter's back.
# By machine: (audit architecture, clone, clone3, prctl, forbidden).
_X86_64 = (
    41, 57, 58, 59, 62, 101, 135, 155, 161, 164, 165, 166, 167, 168, 169, 170, 175, 200, 227, 246,
    248, 249, 250, 272, 298, 304, 308, 310, 311, 313, 320, 321, 322, 323, 424, 425,
)  # fmt: skip
_AARCH64 = (
    39, 40, 41, 51, 92, 97, 104, 105, 112, 117, 129, 130, 142, 161, 170, 198, 217, 218, 219, 221,
    224, 225, 241, 265, 268, 270, 271, 273, 280, 281, 282, 294, 424, 425,
)  # fmt: skip
_MACHINES = {
    "x86_64": (0xC000003E, 56, 435, 157, _X86_64),
    "aarch64": (0xC00000B7, 220, 435, 167, _AARCH64),
}


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.syscall.restype = ctypes.c_long
    return libc


def _call(libc: ctypes.CDLL, number: int, *arguments: int | bytes | None) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *wide))


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def no_new_privileges() -> None:
    """Give up gaining privileges by exec; the two filters below ask for it.

    Raises:
        OSError: the kernel refuses.
    """
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _failed("no_new_privs")


def own_network() -> bool:
    """Move into a network namespace without any interface, not even a loopback that is up.

    Returns:
        Whether a user namespace had to be made for it (without privileges there is no other way).

    Raises:
        OSError: the kernel or its administrator refuses.
    """
    libc = _libc()
    if libc.unshare(_CLONE_NEWNET) == 0:
        return False
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise _failed("network namespace")
    # Without a mapping, files that the job makes would belong to nobody and be refused.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path("/proc/self", name).write_text(text, encoding="ascii")
    return True


def drop_capabilities() -> None:
    """Give up every capability, so that root is a user like any other.

    Raises:
        OSError: the kernel refuses.
    """
    libc = _libc()
    header = struct.pack("=Ii", 0x20080522, 0)
    if libc.capset(header, bytes(24)):
        raise _failed("capset")


def landlock(write: Iterable[Path], read: Iterable[Path]) -> int:
    """Only files below `read` may be read, only those below `write` changed.

    Returns:
        The kernel's Landlock ABI.

    Raises:
        OSError: the kernel has no Landlock, or it is turned off.
    """
    libc = _libc()
    abi = _call(libc, _LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        raise _failed("Landlock")
    handled = 0
    for since, rights in _FS_BY_ABI.items():
        handled |= rights if abi >= since else 0
    attributes = struct.pack("=QQQ", handled, 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 8
    ruleset = _call(libc, _LANDLOCK_CREATE, attributes, size, 0)
    if ruleset < 0:
        raise _failed("Landlock")
    try:
        for path in read:
            _allow(libc, ruleset, path, handled & _READ)
        for path in write:
            _allow(libc, ruleset, path, handled)
        if _call(libc, _LANDLOCK_RESTRICT, ruleset, 0):
            raise _failed("Landlock")
    finally:
        os.close(ruleset)
    return int(abi)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no permission
    try:
        rights = rights if path.is_dir() else rights & _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, handle)
        if _call(libc, _LANDLOCK_ADD, ruleset, 1, rule, 0):
            raise _failed(f"Landlock on {path}")
    finally:
        os.close(handle)


def forbid_calls() -> None:
    """A seccomp filter: no new process, no program, no socket, nothing about other processes.

    Raises:
        OSError: the kernel refuses, or the machine is none that this filter knows.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        raise OSError(0, f"seccomp: no filter for {machine}")
    architecture, clone, clone3, prctl, forbidden = _MACHINES[machine]
    code = [
        (_LOAD, 0, 0, 4),  # architecture
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # number of the call
        (_JUMP_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _EPERM),
        (_JUMP_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, _ENOSYS),  # libc then falls back on clone, whose flags can be seen
        (_JUMP_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, 16),  # low half of the first argument: the flags
        (_JUMP_SET, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
        (_JUMP_EQUAL, 0, 4, prctl),
        (_LOAD, 0, 0, 16),
        (_JUMP_EQUAL, 0, 1, _PR_SET_PDEATHSIG),  # nobody takes back that he dies with his parent
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    for number in forbidden:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    program = b"".join(struct.pack("=HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(code), ctypes.addressof(buffer)), struct.calcsize("@HP")
    )
    if _libc().prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(header), 0, 0):
        raise _failed("seccomp")
