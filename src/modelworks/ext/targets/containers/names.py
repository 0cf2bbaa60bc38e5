"""What things are called on an engine, and the labels by which they are found again."""

from typing import Final

PREFIX: Final = "modelworks-"
DEPLOYMENT: Final = "modelworks.deployment"
REVISION: Final = "modelworks.revision"
DIGEST: Final = "modelworks.digest"
"""Of the revision."""
NETWORK: Final = "modelworks.network"
"""On the container that has the address which replicas share; which address."""
LIMITS: Final = "modelworks.limits"
"""JSON of what can be changed on a container that runs, as it was made."""
DESCRIPTION: Final = "modelworks.description"


def replica(deployment: str, revision: int, place: int) -> str:
    """`modelworks-fraud-3-1`: the last two numbers tell it from all others."""
    return f"{PREFIX}{deployment}-{revision}-{place}"


def network(deployment: str, address: str) -> str:
    """Of the container whose network replicas join."""
    return f"{PREFIX}{deployment}-network-{address}"


def secrets(deployment: str, revision: int) -> str:
    """Of the volume with a revision's secrets."""
    return f"{PREFIX}{deployment}-{revision}-secrets"
