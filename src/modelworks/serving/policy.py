"""What one server is told about many models: memory, who stays, who waits to be asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelworks.core.caching import AnswerCache
from modelworks.core.graphs import GRAPH
from modelworks.core.instances import Instances
from modelworks.core.records import RecordPolicy
from modelworks.core.served import Isolation, ServedModel
from modelworks.core.stateful import Sequences


@dataclass(frozen=True, slots=True)
class Policy:
    """For all models of a server.

    Attributes:
        limited: loads are admitted against a limit of memory; others are evicted for them.
        memory_bytes: of the whole server; 0 = what cgroup or machine have, less a reserve.
        lazy: nothing that is not pinned is loaded before it is asked for.
        pinned: names of models that are never evicted, beside those that the list pins.
        isolation: where engines run, whatever the list says; None = as it says.
        batching: of every model, whatever the list says: pairs of a field and its value.
        footprints: file that remembers what models take; None = nothing is remembered.
        records: of models whose line of the list has no policy of its own; None = those are not
            recorded.
        revision: of the deployment, of models whose line of the list has none of its own.
        cache: of models whose line says nothing of cache and sequences; a graph has neither.
        sequences: the same.
        instances: of models whose line has none.
    """

    limited: bool = False
    memory_bytes: int = 0
    lazy: bool = False
    pinned: frozenset[str] = frozenset()
    isolation: Isolation | None = None
    batching: tuple[tuple[str, float], ...] = ()
    footprints: Path | None = None
    records: RecordPolicy | None = None
    revision: str = ""
    cache: AnswerCache | None = None
    sequences: Sequences | None = None
    instances: tuple[Instances, ...] = ()

    def line(self, served: ServedModel) -> ServedModel:
        """A line of the list as this server takes it."""
        said: dict[str, Any] = dict(self.batching)
        cache, sequences = served.cache, served.sequences
        if served.format != GRAPH and cache is None and sequences is None:
            cache, sequences = self.cache, self.sequences
        return replace(
            served,
            pinned=served.pinned or served.name in self.pinned,
            isolation=self.isolation or served.isolation,
            batching=replace(served.batching, **said),
            records=self.records if served.records is None else served.records,
            revision=served.revision or self.revision,
            cache=cache,
            sequences=sequences,
            instances=served.instances or self.instances,
        )
