"""What the duties of a watch work on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelworks.core.home import Home
from modelworks.core.served import ServedList

if TYPE_CHECKING:
    from modelworks.control.deploying.service import Deploying
    from modelworks.control.records.service import Records
    from modelworks.control.rollouts.service import Rollouts


@dataclass(frozen=True, slots=True)
class Parts:
    """What the duties work on.

    Attributes:
        home: the data folder.
        deploying: the verbs of deployments.
        records: those of records; called when they are needed.
        desired: the list of models that is served.
        rollouts: the verbs of roll-outs; called when they are needed.
        shared: the database is other machines' too.
        gateways: admin addresses of gateways on other machines.
    """

    home: Home
    deploying: "Deploying"
    records: Callable[[], "Records"]
    desired: Callable[[], ServedList]
    rollouts: Callable[[], "Rollouts"]
    shared: bool = False
    gateways: tuple[str, ...] = ()
