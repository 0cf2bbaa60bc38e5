"""A real Redis as a process: started, killed, stopped for a while, started again."""

import shutil
import signal
import socket
import subprocess

from store_servers import eventually, free_port, missing


class RedisServer:
    """Keeps nothing on the disk; the port is the same after a restart."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = options
        self.port = free_port()
        self._process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        program = shutil.which("redis-server")
        if program is None:
            missing("redis-server", "apt-get install redis-server")
        told = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *told, "--dir", str(self.folder), *self.options],
                stdout=log,
                stderr=log,
            )
        eventually("redis-server", self._ready, self._process)

    def kill(self):
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def pause(self):
        """It answers nobody, and hangs up on nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words):
        """The first line that it says to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
            link.sendall(b"".join([w.encode() + b" " for w in words]) + b"\r\n")
            return link.makefile("rb").readline().decode().strip()

    def _ready(self):
        try:
            said = self.ask("PING")
        except OSError:
            return False
        return said.startswith(("+PONG", "-NOAUTH"))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
