"""The gateways of this installation in the place of a target that routes.

Nothing is written here: the snapshot for them is made of what was asked for (`control.front`).
"""

import json
from collections.abc import Callable

from modelworks.core import codec
from modelworks.core.deployment import ObservedRoute, Rendered, WantedRoute
from modelworks.deploy.carried import carried


class Carrier:
    """See `core.seams.Routing`.

    Args:
        model: name of the model that a deployment runs.
    """

    def __init__(self, model: Callable[[str], str]) -> None:
        self._model = model

    def render_route(self, route: WantedRoute) -> tuple[Rendered, ...]:
        """As gateways go by it, without the addresses: they are observed."""
        models = {name: self._model(name) for name in route.ports}
        found = codec.encode(carried(route.name, route.spec, models))
        return (Rendered(f"{route.name}.json", json.dumps(found, indent=2) + "\n"),)

    def apply_route(self, route: WantedRoute) -> None:
        """It is asked for, and that is all."""

    def observe_route(self, _name: str) -> ObservedRoute | None:
        """It is in the next snapshot; who follows that is not known here."""
        return ObservedRoute(accepted=True)

    def delete_route(self, name: str) -> None:
        """The next snapshot is without it."""
