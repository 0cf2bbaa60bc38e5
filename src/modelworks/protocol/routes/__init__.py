"""Who answers a request, and who may ask: pure, and quick enough for the hot path."""

from modelworks.protocol.routes.checking import check
from modelworks.protocol.routes.policy import Policy, RoutePolicy
from modelworks.protocol.routes.spans import spans

__all__ = ["Policy", "RoutePolicy", "check", "spans"]
