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
from modelworks.ext.engines.language.turns import Turns
from modelworks.ext.formats import genai
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
        serving = _load(setup, control, lines)
    except Exception as error:  # noqa: BLE001 - the parent is told whatever it was
        lines.send({"error": describe(_known(error))})
        return
    lines.send({"ready": codec.encode(isolation)})
    serving.run()


def _known(error: Exception) -> ModelworksError:
    if isinstance(error, ModelworksError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return MissingExtraError("a language model", "language", str(error.name))
    said = " ".join(str(error).split())[:240]
    return InvalidError(f"the model does not load: {type(error).__name__}: {said}")


def _load(setup: dict[str, Any], control: socket.socket, lines: Lines) -> "_Serving":
    from modelworks.ext.engines.language.computing import Computing  # noqa: PLC0415 - inside walls
    from modelworks.ext.engines.language.template import Template  # noqa: PLC0415 - the same

    folder = Path(setup["folder"])
    facts = genai.read(folder)
    template = Template(facts.template, facts.marks)
    decoder = Computing(folder, facts, int(setup["threads"]))
    decoder.add(decoder.state(16, ""), [facts.ends[0]])  # what only fails when it runs fails now
    turns = Turns(decoder, facts, int(setup["slots"]), int(setup["kept"]))
    return _Serving(control, lines, turns, template)


class _Serving:
    def __init__(self, control: socket.socket, lines: Lines, turns: Turns, template: Any) -> None:
        self._lines = lines
        self._turns = turns
        self._template = template
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self) -> None:
        """Hear what there is, then one step of everybody; until the parent hangs up."""
        turns = self._turns
        while self._hear(0 if turns.busy else None):
            if turns.busy:
                told = turns.step(self._between)
                if told:
                    self._lines.send(told)

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
            told = self._turns.stop(message["stop"])
            if told:
                self._lines.send(told)
        elif "chat" in message:
            self._chat(message)
        else:
            sampling = codec.decode(Sampling, message["sampling"])
            self._turns.enter(message["begin"], message["prompt"], message["adapter"], sampling)

    def _chat(self, message: dict[str, Any]) -> None:
        answer = {"chat": message["chat"]}
        try:
            answer["text"] = self._template.write(message["messages"])
        except InvalidError as error:
            answer["refused"] = error.message
        self._lines.send(answer)


if __name__ == "__main__":
    main()
