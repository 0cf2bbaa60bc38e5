"""One process's hold on an embedded model: what answers now, and what its reference points at."""

import logging
import os
import threading
from dataclasses import dataclass
from typing import Final

from modelworks.apps.embed import Settings
from modelworks.apps.embedded_source import Source, plain, source_of
from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.model import ModelVersion
from modelworks.core.optimizing.wanted import GOALS
from modelworks.core.reference import ModelRef
from modelworks.core.served import Batching, Isolation, ServedModel
from modelworks.serving.front import Front

_log = logging.getLogger("modelworks.embedded")
_LONGEST_POLL_S: Final = 60.0
_JOIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `load` was told.

    Attributes:
        settings: which registry or control plane.
        ref: the reference that is followed; its variant is the form that is wanted, a name or a
            goal, empty for the version as it was imported.
        threads: of the engine.
        batching: limits of the queue.
        timeout: seconds a call waits by default.
        poll: seconds between two looks; 0 = never.
        isolation: where the engine runs.
    """

    settings: Settings
    ref: ModelRef
    threads: int
    batching: Batching
    timeout: float
    poll: float
    isolation: Isolation = Isolation.THREAD


class Follower:
    """Serves what the reference points at, and goes on with that when nothing better can be had.

    Args:
        wanted: what `load` was told.
        model: to begin with, where its files are here already; None = ask.

    Attributes:
        front: the callers' side of what answers.
        model: the newest that was asked of it.
        good: the newest that has answered.
        problem: why `model`, or what the reference points at now, does not answer.

    Raises:
        ModelworksError: nothing can be served.
    """

    def __init__(self, wanted: Wanted, model: ServedModel | None = None) -> None:
        self.problem = ""
        self._wanted = wanted
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._looking = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="alias", daemon=True)
        self._source: Source = source_of(wanted.settings, wanted.ref)
        try:
            self._origin = ""
            """Digest of the version whose form `model` is; empty = it is not known."""
            self.model = model or self._first()
            if model is not None and not model.variant:
                self._origin = model.digest
            self.front = Front(wanted.ref.name, wanted.threads)
        except BaseException:
            self._source.close()
            raise
        try:
            if self.front.apply(self.model):
                self.front.load_again(self.model)  # raises the reason with its class
            self._source.keep(self.model)
        except BaseException:
            self.close()
            raise
        self.good = self.model
        if wanted.poll and wanted.ref.version is None:
            self._watcher.start()

    def look(self, *, anew: bool = False) -> bool:
        """Serve what the reference points at now; whether that is what answers.

        Args:
            anew: ask too which form of the same version a goal means now.
        """
        with self._looking:
            problem = ""
            try:
                self._follow(anew=anew and self._wanted.ref.variant in GOALS)
            except ModelworksError as error:
                problem = error.message
            except Exception as error:  # noqa: BLE001 - whatever fails there, this version goes on
                problem = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return False
            if problem:
                answering = self.good.version
                problem = f"{self._wanted.ref}: version {answering} goes on answering: {problem}"
                if problem != self.problem:
                    _log.error("%s", problem)
            self.problem = problem
            return not problem

    def close(self) -> None:
        """Answer who waits, give the memory back. Twice is quiet; so is a fork's child."""
        if os.getpid() != self._pid:
            return  # the loop, the threads and the connections are the parent's
        self._stop.set()
        self.front.close()
        if self._watcher.is_alive() and self._watcher is not threading.current_thread():
            self._watcher.join(_JOIN_S)
        self._source.close()

    def _first(self) -> ServedModel:
        """What the reference points at; where nobody can be asked, the last good one."""
        try:
            return self._fetched(self._source.find())
        except UnavailableError as error:
            kept = self._source.kept()
            if kept is None:
                raise
            self._origin = "" if kept.variant else kept.digest
            self.problem = f"{self._wanted.ref}: version {kept.version} as of before: {error}"
            _log.warning("%s", self.problem)
            return self._plain(kept)

    def _plain(self, model: ServedModel) -> ServedModel:
        return plain(model, self._wanted.batching, self._wanted.isolation)

    def _fetched(self, version: ModelVersion) -> ServedModel:
        model = self._plain(self._source.fetch(version))
        self._origin = version.artifact.digest
        return model

    def _follow(self, *, anew: bool) -> None:
        version = self._source.find()
        now = self.model
        same = (str(version.version), version.artifact.digest) == (now.version, self._origin)
        model = now if same and not anew else self._fetched(version)
        if model == now:
            if self.good != now:
                self.front.load_again(now)
                self._answers(now)
            return
        self.model = model
        if refused := self.front.apply(model):
            raise UnavailableError(f"version {model.version} cannot be served: {refused}")
        self._answers(model)

    def _answers(self, model: ServedModel) -> None:
        self.good = model
        self._source.keep(model)
        form = f"#{model.variant}" if model.variant else ""
        _log.info("%s: version %s%s answers", self._wanted.ref, model.version, form)

    def _watch(self) -> None:
        """Look now and then; later each time while it fails."""
        poll = self._wanted.poll
        failures = 0
        while not self._stop.wait(min(poll * 2 ** min(failures, 16), max(poll, _LONGEST_POLL_S))):
            failures = 0 if self.look() else failures + 1
