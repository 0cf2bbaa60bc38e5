"""The duty that sends records on, receiver by receiver: none of them stops another."""

from collections.abc import Mapping
from typing import Any, Final

from modelworks.control.forwarding.receivers import Receivers
from modelworks.control.watching.duty import Done
from modelworks.core.errors import ModelworksError

BUDGET_S: Final = 120.0
"""Of one run, shared by the receivers: what does not fit waits for the next one."""


class Forwarding:
    """Sends what waits to every receiver that is kept.

    Args:
        receivers: of this data folder.
        machine: empty = the database is nobody else's.
    """

    every_s = 15.0
    deadline_s = 300.0

    def __init__(self, receivers: Receivers, machine: str = "") -> None:
        self._receivers = receivers
        self.name = f"forward {machine}".strip()[:40]

    def run(self, now: float, state: Mapping[str, Any]) -> Done:  # noqa: ARG002 - see `Duty`
        """See `Duty`. A run that is killed sends at most one batch of each receiver again."""
        every = self._receivers.every()
        said = []
        for receiver in every:
            try:
                self._receivers.send(receiver, BUDGET_S / len(every))
            except ModelworksError as error:
                said.append(f"{receiver.name}: {error.message}")
        dropped = [one for one in self._receivers.states() if one.dropped]
        said += [f"{one.receiver.name}: {one.dropped} segments were dropped" for one in dropped]
        return Done(said="; ".join(said))
