"""The process of one language model: `python -m modelworks.ext.engines.language.child FD PARENT`.

Puts up the walls, loads the model, and computes in turns until its parent hangs up.
"""

import os
import select
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from modelworks.core import codec
from modelworks.core.errors import InvalidError, MissingExtraError, ModelworksError
from modelworks.core.generation import Sampling
from modelworks.ext.engines.language.lines import Lines
from modelworks.ext.engines.language.opened import Opened, Wish, Word, opened
from modelworks.ext.engines.language.texts import fitting
from modelworks.sandbox import kernel
from modelworks.sandbox.isolate import Guard, isolate
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.report import describe


def main() -> None:
    """Serve the parent until it hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    if sys.platform == "linux":
        kernel.die_with_parent()
    if os.getppid() != int(sys.argv[2]):  # it ended before we could ask for that
        sys.exit(1)
    lines = Lines(control)
    came = lines.read()
    if not came:
        return
    setup = came[0]
    work = Path(setup["work"])
    os.chdir(work)
    os.environ.update({"HOME": str(work), "TMPDIR": str(work)})
    tempfile.tempdir = None  # decided anew from the environment
    limits = codec.decode(Limits, setup["limits"])
    isolation = isolate(work, tuple(Path(p) for p in setup["reads"]), limits)
    Guard().arm()
    try:
        made = opened(setup["by"], codec.decode(Wish, setup["wish"]))
    except Exception as error:  # noqa: BLE001 - the parent is told whatever it was
        lines.send({"error": describe(_known(error, setup["extra"]))})
        return
    ready = {
        "isolation": codec.encode(isolation),
        "context": made.context,
        "adapters": list(made.adapters),
        "widest": made.widest,
    }
    lines.send({"ready": ready})
    Serving(control, lines, made).run()


def _known(error: Exception, extra: str) -> ModelworksError:
    if isinstance(error, ModelworksError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return MissingExtraError("a language model", extra, str(error.name))
    said = " ".join(str(error).split())[:240]
    return InvalidError(f"the model does not load: {type(error).__name__}: {said}")


class Serving:
    """What a process does for its parent.

    Args:
        control: the socket to it.
        lines: over that socket.
        made: the model.
    """

    def __init__(self, control: socket.socket, lines: Lines, made: Opened) -> None:
        self._lines = lines
        self._made = made
        self._generations = made.generations
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self) -> None:
        """Hear what there is, then one step of everybody; until the parent hangs up."""
        generations = self._generations
        while self._hear(0 if generations.busy else None):
            if generations.busy:
                self._tell(generations.step(self._between))

    def _tell(self, told: list[Word]) -> None:
        spelled = self._made.spelled
        if told:
            self._lines.send(
                [
                    (number, spelled(token) if token >= 0 else token, *rest)
                    for number, token, *rest in told
                ]
            )

    def _hear(self, wait_ms: int | None) -> bool:
        """Do what the parent says; false when it hung up."""
        if self._poll.poll(wait_ms):
            came = self._lines.read()
            if came is None:
                return False
            for message in came:
                self._do(message)
        return True

    def _between(self) -> None:
        """A step may take seconds: a conversation to be written waits for one, not for all."""
        self._hear(0)  # that the parent hung up is heard again

    def _do(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self._tell(self._generations.stop(message["stop"]))
        elif "ask" in message:
            self._answer(message)
        else:
            sampling = codec.decode(Sampling, message["sampling"])
            number, prompt = message["begin"], message["prompt"]
            self._generations.enter(number, prompt, message["adapter"], sampling)

    def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"ask": message["ask"]}
        self._lines.send({"ask": message["ask"], "began": True})
        try:
            if "messages" in message:
                answer["found"] = self._made.template.write(message["messages"])
            elif self._made.read is not None:
                found = self._made.read(message["text"])
                fitting(found, self._made.context)  # what goes back is bounded by the context
                answer["found"] = found
        except InvalidError as error:
            answer["refused"] = error.message
        self._lines.send(answer)


if __name__ == "__main__":
    main()
