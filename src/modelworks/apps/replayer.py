"""Composition root of the replay before a roll-out's first step, which the worker starts.

`python -m modelworks.apps.replayer --home FOLDER --rollout NAME --candidate ARM --parent PID`: what
it finds is kept with the candidate's version; why it found nothing is one line of JSON on stdout.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelworks.apps.replaying import served
from modelworks.apps.stores import stores_of
from modelworks.control.replaying.planned import asked_of, evidence_of, paced
from modelworks.control.service import Factory
from modelworks.core.errors import CrashedError, ModelworksError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.ids import now_ns

_NICE: Final = 19  # requests go first, and so does the worker
_PARENT_S: Final = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, and keep what was found; the exit code."""
    parser = argparse.ArgumentParser(prog="modelworks.apps.replayer", allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--rollout", required=True, metavar="NAME")
    parser.add_argument("--candidate", required=True, metavar="ARM")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="end when it ends")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was begun is ended on the way
    with suppress(OSError):
        os.nice(_NICE)
    if given.parent:
        threading.Thread(target=_mind, args=(given.parent,), daemon=True).start()
    try:
        with Factory(Home(given.home), stores=stores_of(os.environ)) as factory:
            _replay(factory, given.rollout, given.candidate)
    except ModelworksError as error:
        final = not isinstance(error, UnavailableError | CrashedError)
        sys.stdout.write(json.dumps({"error": error.message, "final": final}))
        return 1
    return 0


def _replay(factory: Factory, name: str, candidate: str) -> None:
    plan = factory.rollouts.get(name).rollout.plan
    asked = asked_of(plan, candidate, factory.replayed, now_ns())
    ready = paced(factory.replays.ready(asked))
    with served(factory, ready.asked) as target:
        report = factory.replays.play(ready, target)
    if report.gone:
        raise UnavailableError(f"the server of {asked.ref} ended while requests were played to it")
    factory.note_evidence(asked.ref, evidence_of(plan, candidate, report))


def _mind(parent: int) -> None:
    """End with the worker; the candidate's server ends with us."""
    wait = threading.Event()
    while os.getppid() == parent:
        wait.wait(_PARENT_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
