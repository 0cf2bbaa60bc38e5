"""A server as a tree of processes that this run started: its CPU time, its memory, its end.

Every process of a server carries a token in its environment, or descends from one that does, or is
in the session of one: so that daemons which detach themselves are found too, and nothing else is.
"""

import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

from modelworks.measure.processes import cpu_ns

TOKEN = "MODELWORKS_PEER"
END_S = 15.0
DRAIN_S = 5.0
SIGNS = (re.compile(r"\w(Error|Exception)\b"), re.compile(r"(?i)\berror\b"))
"""What a failure's line looks like, the surest first."""


class Tree:
    """A command, once `start` was called, and everything that came of it.

    It is made before it is started, so that its `end` is in place even when a signal's exception
    comes in the middle of the start: what is there by then is found by the token.

    Args:
        command: what to start.
        environ: the whole environment.
        folder: its working directory; its words go to `folder/log`.
        core: which core it is pinned to.
    """

    def __init__(self, command, environ, folder, core):
        self.token = uuid.uuid4().hex
        self.command = ["taskset", "-c", str(core), *command]
        self.environ = {**environ, TOKEN: self.token}
        self.folder = folder
        self.log_file = folder / "log"
        self.process = None

    def start(self):
        """Start the command in a session of its own."""
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pids(self):
        """Every process of the tree that is alive now."""
        return members(table(self.token), {self.process.pid} if self.process else set())

    def cpu_seconds(self):
        """User and system time of the living processes so far."""
        return sum(cpu_ns(pid) or 0 for pid in self.pids()) / 1e9

    def memory_mb(self):
        """(resident, proportional) megabytes: the second counts shared pages once."""
        sizes = [memory_kb(pid) for pid in self.pids()]
        return tuple(round(sum(each) / 1024, 1) for each in zip(*sizes, strict=True)) or (0.0, 0.0)

    def alive(self):
        """Whether the first process, or one that it left behind, still runs."""
        return self.running() or bool(self.pids())

    def running(self):
        """Whether the first process itself still runs."""
        return self.process is not None and self.process.poll() is None

    def drain(self):
        """Wait until it has nothing to do any more, for a bounded time."""
        end, before = time.monotonic() + DRAIN_S, self.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(0.1)
            now = self.cpu_seconds()
            if now - before < 0.03:
                return
            before = now

    def signal(self, number):
        """Send a signal to every process of the tree."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def words(self, most=400):
        """Why it ended, as far as it said so: its last line with an error, or its last."""
        return last_words(self.log_file.read_text(errors="replace"), most)

    def end(self):
        """SIGTERM, then SIGKILL to what is left; nothing of the tree remains."""
        self.signal(signal.SIGCONT)
        if self.running():
            self.process.terminate()
        elif self.process is None:  # the start was cut short
            self.signal(signal.SIGTERM)
        end = time.monotonic() + END_S
        while self.alive() and time.monotonic() < end:
            time.sleep(0.1)
        end = time.monotonic() + END_S
        while self.alive() and time.monotonic() < end:
            self.signal(signal.SIGKILL)
            time.sleep(0.1)


def last_words(text, most):
    """The last line that tells an error, else the last line."""
    lines = [line for line in text.splitlines() if line.strip(" +-|")]
    for sign in SIGNS:
        if told := [line for line in lines if sign.search(line)]:
            return " ".join(told[-1].split())[-most:]
    return " ".join(lines[-1].split())[-most:] if lines else "it said nothing"


def table(token):
    """Living processes: pid -> (parent, session, has the token)."""
    found, wanted = {}, f"{TOKEN}={token}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is somebody else's
        if fields[0] != "Z":
            found[int(entry.name)] = (int(fields[1]), int(fields[3]), wanted in environ)
    return found


def members(processes, roots):
    """Which of `processes` belong to the tree: by token, by descent, by session.

    A process that overwrites its environment (to change its title) is found by the other two.
    """
    ours = {pid for pid, (_, _, token) in processes.items() if token}
    ours |= roots & processes.keys()
    sessions = roots | {processes[pid][1] for pid in ours}
    while True:
        more = {
            pid
            for pid, (parent, session, _) in processes.items()
            if pid not in ours and (parent in ours or session in sessions)
        }
        if not more:
            return ours
        ours |= more


def memory_kb(pid):
    """(Rss, Pss) of one process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return sizes.get("Rss", 0), sizes.get("Pss", 0)
