"""What the sandbox's tests run inside of it: harmless jobs and every way to misbehave."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from modelworks.core.errors import MissingExtraError, RefusedError


def echo(arguments, progress):
    progress("first line")
    Path("made.txt").write_text("x")
    return {
        "arguments": arguments,
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
        "fds": len(list(Path("/proc/self/fd").iterdir())),
        "session": os.getsid(0) == os.getpid(),
    }


def count(arguments, progress):
    for i in range(arguments["lines"]):
        progress(f"line {i}")
    return {}


def fail(arguments, progress):
    kind = {
        "refused": RefusedError("not\nthis " + "x" * 5_000_000, field="file"),
        "extra": MissingExtraError("a test", "torch", "torch"),
        "foreign": KeyError("a\n\nb"),
        "recursion": RecursionError(),
    }
    raise kind[arguments["how"]]


def memory(arguments, progress):
    held = []
    while True:
        held.append(bytearray(32 << 20))


def spin(arguments, progress):
    while True:
        pass


def sleep(arguments, progress):
    Path("pid").write_text(str(os.getpid()))
    progress(str(os.getpid()))
    time.sleep(60)
    return {}


def huge_file(arguments, progress):
    with Path("huge").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def many_files(arguments, progress):
    for i in range(100_000):
        Path(f"part{i}").write_bytes(bytes(1 << 20))
    return {}


def write_to(arguments, progress):
    Path(arguments["path"]).write_text("out")
    return {}


def read_from(arguments, progress):
    return {"text": Path(arguments["path"]).read_text()}


def fork(arguments, progress):
    while True:
        os.fork()


def fork_by_libc(arguments, progress):
    libc = ctypes.CDLL(None, use_errno=True)
    results = [libc.fork() for _ in range(50)]
    return {"forked": [r for r in results if r >= 0]}


def shell(arguments, progress):
    how = arguments["how"]
    command = f"touch {arguments['canary']}"
    if how == "system":
        os.system(command)
    elif how == "popen":
        subprocess.Popen(["/bin/sh", "-c", command])
    elif how == "exec":
        os.execv("/bin/sh", ["sh", "-c", command])
    elif how == "spawn":
        os.posix_spawn("/bin/sh", ["sh", "-c", command], {})
    else:
        return {"code": ctypes.CDLL(None).system(command.encode())}
    return {}


def connect(arguments, progress):
    with socket.create_connection(("127.0.0.1", arguments["port"]), 2):
        return {"connected": True}


def connect_by_libc(arguments, progress):
    return {"socket": ctypes.CDLL(None).socket(2, 1, 0)}


def kill_parent(arguments, progress):
    return {"answer": ctypes.CDLL(None).kill(arguments["pid"], signal.SIGTERM)}


def die(arguments, progress):
    how = arguments["how"]
    if how == "segv":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "exit":
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(3)
    return {}


def long_answer(arguments, progress):
    return {"text": "x" * arguments["length"]}


def no_object(arguments, progress):
    return [1, 2]


def garbage(arguments, progress):
    for fd in range(3, 64):
        try:
            os.write(fd, b"\x00\x00\x00\x04abcd")
        except OSError:
            continue
    return {}


def noise(arguments, progress):
    for _ in range(20_000):
        sys.stderr.write("noise " * 20 + "\n")
        sys.stdout.write("noise " * 20 + "\n")
    return {"fine": True}


def thread(arguments, progress):
    worker = threading.Thread(target=progress, args=("from a thread",))
    worker.start()
    worker.join()
    return {}
