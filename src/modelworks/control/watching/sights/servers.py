"""What servers of this machine say of versions: loaded or not, and what they counted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from modelworks.control.rollouts.evidence import Seen
from modelworks.control.rollouts.grounds.ground import Look, arms_of
from modelworks.control.watching.counting import counters, started
from modelworks.core.rollouts import Plan

if TYPE_CHECKING:
    from modelworks.control.watching.asking import Server


class Served:
    """Fulfils `Sight`, among versions.

    Args:
        ask: what each server process says in its metrics.
        loaded: whether every server has a version loaded and warm: model, version.
    """

    def __init__(
        self,
        ask: Callable[[], "Sequence[tuple[Server, str]]"],
        loaded: Callable[[str, str], bool],
    ) -> None:
        self._ask = ask
        self._loaded = loaded

    def unready(self, plan: Plan) -> str:
        """See `Sight`."""
        for arm in arms_of(plan):
            if not self._loaded(plan.route, arm):
                return f"{plan.route}:{arm} is not loaded by every server, or there is none"
        return ""

    def look(self, plans: Sequence[Plan]) -> Look:
        """See `Sight`."""
        del plans  # a server tells all that it counts
        seen = list(_seen(self._ask()))
        return lambda _kept: seen


def _seen(said: "Iterable[tuple[Server, str]]") -> Iterator[Seen]:
    for server, text in said:
        with suppress(ValueError):  # it says something that no count can be
            yield Seen(server.url, started(text), counters(text))
