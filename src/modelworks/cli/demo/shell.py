"""Runs the demo's commands, showing each as a user would type it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelworks.cli import human
from modelworks.cli.output import Output
from modelworks.core.errors import CrashedError, DeadlineError

COMMAND_SECONDS = 300.0  # of each command: seconds on a machine that nobody else uses
STOP_SECONDS = 60.0


class Shell:
    """A folder, an environment, and commands that are shown and run there.

    Args:
        out: says what is done; quiet with `--json`.
        folder: where commands run, so that file names stay short.
        extra: environment variables set on top of ours.
    """

    def __init__(self, out: Output, folder: Path, extra: Mapping[str, str]) -> None:
        self._out = out
        self._folder = folder
        self._environ = {**os.environ, **extra, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        for name in ("MODELWORKS_URL", "MODELWORKS_DATABASE", "MODELWORKS_ARTIFACTS"):
            self._environ.pop(name, None)

    def say(self, text: str = "") -> None:
        """Text on stdout; quiet with `--json`."""
        if not self._out.as_json:
            for line in text.split("\n"):
                self._out.line(line)

    def title(self, number: int, text: str) -> None:
        """The head of a step."""
        self.say()
        self.say(f"=== {number}. {text}")

    def modelworks(self, *arguments: str, show: int = 40) -> str:
        """Run `modelworks ...`; its stdout.

        Raises:
            CrashedError: it ended with another code than 0.
        """
        self.say(f"$ modelworks {shlex.join(arguments)}")
        command = [sys.executable, "-m", "modelworks.cli.main", *arguments]
        return self._run(command, f"modelworks {arguments[0]}", show)

    def refused(self, *arguments: str) -> str:
        """Run `modelworks ...`, which must end with an error; its last line.

        Raises:
            CrashedError: it ended with 0.
        """
        self.say(f"$ modelworks {shlex.join(arguments)}")
        command = [sys.executable, "-m", "modelworks.cli.main", *arguments]
        try:
            self._run(command, f"modelworks {arguments[0]}", 40)
        except CrashedError as error:
            return error.message
        raise CrashedError(f"modelworks {arguments[0]} took what it should refuse")

    def ask(self, *arguments: str) -> Any:
        """The same with `--json`, not shown; the document."""
        command = [sys.executable, "-m", "modelworks.cli.main", *arguments, "--json"]
        return json.loads(self._run(command, f"modelworks {arguments[0]}", 0))

    def run(self, command: Sequence[str], show: int = 40) -> str:
        """Run another program; its stdout."""
        self.say(f"$ {shlex.join(command)}")
        return self._run(command, command[0], show)

    def python(self, *arguments: str, show: int = 40) -> str:
        """Run `python ...` with our interpreter; its stdout."""
        self.say(f"$ python {shlex.join(arguments)}")
        return self._run([sys.executable, *arguments], "python", show)

    def serve(self, *arguments: str) -> "Background":
        """Start `modelworks ... --json` in the background; wait until it says where it is."""
        self.say(f"$ modelworks {shlex.join(arguments)} &")
        command = [sys.executable, "-m", "modelworks.cli.main", *arguments, "--json"]
        return Background(command, self._folder, self._environ)

    def _run(self, command: Sequence[str], what: str, show: int) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                f"{what} was not finished within {COMMAND_SECONDS:.0f} s: is the machine busy with "
                "something else? Try again when it is not"
            ) from error
        lines = [line for line in done.stderr.splitlines() if not line.startswith("... ")]
        lines += done.stdout.splitlines()
        for line in lines[:show]:
            self.say(f"  {human.printable(line[:160])}")
        if len(lines) > show > 0:
            self.say(f"  ... {len(lines) - show} lines more")
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise CrashedError(f"{what} ended with code {done.returncode}: {last[0]}")
        return done.stdout


class Background:
    """A server command that runs beside the demo.

    Attributes:
        said: the document that it printed when it was ready.
    """

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(  # ended by stop()
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout is not None  # noqa: S101 - asked for above
        # The command itself gives up after a minute, and then says why in the same place.
        line = self.process.stdout.readline()
        try:
            self.said: dict[str, Any] = json.loads(line)
        except ValueError:
            self.said = {"error": "it ended without a word"}
        if "error" in self.said:
            self.stop()
            raise CrashedError(f"the server did not start: {self.said['error']}")

    def stop(self) -> int:
        """SIGTERM, wait for the drain; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def wait(self) -> int:
        """Until it ends."""
        return self.process.wait()
