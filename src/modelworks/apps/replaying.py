"""A candidate served for a while by a process of its own, on a free port of this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modelworks.apps.children import Child
from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.service import path_of
from modelworks.control.scratch import clear, scratch
from modelworks.control.service import Factory
from modelworks.core.served import write_served
from modelworks.measure.target import Target, parse_target

_LOCAL: Final = ("--host", "127.0.0.1", "--port", "0", "--workers", "1", "--with-parent")
_DRAIN_S: Final = 10.0


@contextmanager
def served(factory: Factory, asked: Asked) -> Iterator[Target]:
    """The candidate's `infer` path, until the end; its server ends with this process.

    Nothing is recorded of what it answers.

    Raises:
        NotFoundError: no such version.
        CrashedError: its server did not start; its last words are in the message.
        DeadlineError: it was not ready in a minute.
    """
    home = factory.home
    clear(home.run)  # what killed replays have left
    with scratch(home.run, "replay") as folder:
        listed = folder / "served.json"
        write_served(listed, factory.resolve([asked.ref]))
        arguments = ["--served", str(listed), *_LOCAL, "--parent", str(os.getpid())]
        child = Child("candidate's server", "modelworks.apps.server", arguments, folder / "log")
        try:
            target = parse_target(child.wait_ready().url)
            yield target.at(path_of(asked))
        finally:
            child.stop(_DRAIN_S)
