"""The graphs of one worker: made of the models that are there, told when those change."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from modelworks.core.errors import (
    InvalidError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
)
from modelworks.core.graphs import GRAPH, Graph, ModelStep
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Signature
from modelworks.protocol.graphs import Checked, check_graph, read_graph
from modelworks.protocol.graphs.checking import same_tensors
from modelworks.serving.block import Block
from modelworks.serving.cost import Cost
from modelworks.serving.entries import Entry
from modelworks.serving.graphs.drive import Drive
from modelworks.serving.graphs.live import GraphLive, GraphSession
from modelworks.serving.graphs.numbers import cells_of
from modelworks.serving.live import Live
from modelworks.serving.loading import Loaded
from modelworks.serving.tap import Tap

_SIZING = "a graph has no batches of its own: those of its models are theirs"
_ANOTHER = "its models take or give other tensors now than when it was registered"


class Graphs:
    """Of one worker; on the loop's thread only.

    Args:
        block: the counters.
        entry: the line of the served list that a name, and a version or None, mean. Raises a
            `ModelworksError` where there is none.
        tap: what notes the requests of one, as it is now.
    """

    def __init__(
        self,
        block: Block,
        entry: Callable[[str, str | None], Entry],
        tap: Callable[[Live], Tap | None],
    ) -> None:
        self._block = block
        self._entry = entry
        self._tap = tap
        self._drive = Drive()
        self._looking = False

    async def asleep(self, served: ServedModel) -> list[Entry]:
        """Models of a graph that are loaded when somebody asks for them, each once.

        Raises:
            ModelworksError: the graph cannot be read.
        """
        steps = (await self._read(served)).models()
        asleep = (self._meant(step, served.tenant) for step in steps if self._sleeps(step, served))
        return list({entry.key: entry for entry in asleep}.values())

    async def load(self, served: ServedModel) -> Loaded:
        """A graph over its models as they are now.

        Raises:
            ModelworksError: it cannot be served; which step, and why.
        """
        graph = await self._read(served)
        checked, lives = self._check(graph, served)
        if served.signature is not None and not same_tensors(served.signature, checked.signature):
            raise InvalidError(
                f"{_ANOTHER}: register it again (modelworks graph add)", field="signature"
            )
        cells = cells_of(self._block, served.name, served.version, served.digest)
        session = GraphSession(graph, checked, lives, cells, self._drive)
        limits = replace(served.batching, max_delay_ms=0)
        return Loaded(session, limits, "", Cost(by_rows=False), sizing=_SIZING)

    def look(self, entries: Iterable[Entry]) -> None:
        """Models came, changed or went: every graph asks those that are there now, or says why not.

        A graph whose model sleeps goes to sleep too: the next request wakes both.
        """
        if self._looking:
            return
        self._looking = True
        try:
            for entry in list(entries):
                if isinstance(entry.held, GraphLive):
                    self._follow(entry, entry.held)
        finally:
            self._looking = False

    def _follow(self, entry: Entry, live: GraphLive) -> None:
        session, served = live.graph, entry.served
        try:
            lives = [self._answering(step, served) for step in session.checked.asked]
            now = [bound.live if bound is not None else None for bound in session.bound]
            if any(new is not old for new, old in zip(lives, now, strict=True)):
                checked, lives = self._check(session.graph, served)
                if not same_tensors(live.signature, checked.signature):
                    raise InvalidError(f"{_ANOTHER}: register it again (modelworks graph add)")
                live.bind(checked, lives)
                live.tap = self._tap(live)
        except ModelworksError as error:
            steps = session.checked.asked
            entry.dormant = any(self._sleeps(step, served) for step in steps)
            live.stirred(error.message)
        else:
            entry.dormant = False
            live.stirred("")

    def _check(self, graph: Graph, served: ServedModel) -> tuple[Checked, list[Live]]:
        def signature(step: ModelStep) -> Signature:
            return self._model(step, served).signature

        checked = check_graph(graph, signature)
        return checked, [self._answering(step, served) for step in checked.asked]

    def _answering(self, step: ModelStep, served: ServedModel) -> Live:
        """The model of a step; the error has the step's name.

        Raises:
            ModelworksError: it is not there, or cannot answer.
        """
        try:
            return self._model(step, served)
        except ModelworksError as error:
            raise type(error)(f"step '{step.name}': {error.message}") from error

    def _model(self, step: ModelStep, served: ServedModel) -> Live:
        entry = self._meant(step, served.tenant)
        if entry.served.format == GRAPH:
            raise InvalidError(
                f"'{step.asked}' is a graph: a graph is made of models; copy its steps instead"
            )
        if entry.live is None:
            why = entry.reason or f"it is {entry.state.lower()}"
            raise UnavailableError(f"model '{step.asked}' does not answer: {why}")
        if entry.served.sequences is not None:
            raise InvalidError(
                f"model '{step.asked}' remembers from one request of a sequence to the next, and a "
                "graph's requests are of none: ask it by itself"
            )
        return entry.live

    def _meant(self, step: ModelStep, tenant: str) -> Entry:
        name = f"{step.model}@{step.alias}" if step.alias else step.model
        entry = self._entry(name, step.version or None)
        if entry.served.tenant != tenant:  # whoever may ask the graph may not ask this
            raise NotFoundError(f"no model '{step.asked}' here")
        return entry

    def _sleeps(self, step: ModelStep, served: ServedModel) -> bool:
        try:
            entry = self._meant(step, served.tenant)
        except ModelworksError:
            return False
        return entry.live is None and entry.dormant

    async def _read(self, served: ServedModel) -> Graph:
        return await asyncio.to_thread(partial(read_graph, Path(served.path)))
