"""From what was seen of a deployment to where gateways ask it. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from modelworks.control.front.composed import Deployed
from modelworks.control.front.places import NEVER, Sight
from modelworks.core.deployment import Observed, Phase
from modelworks.core.desired import Desired
from modelworks.core.routes import Endpoint
from modelworks.deploy.carried import ZONE

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LIVES: Final = frozenset({Phase.STARTING, Phase.READY})


def deployed(
    desired: Desired,
    runs: tuple[str, str],
    sight: Sight,
    before: Sequence[Endpoint],
    address: str = "",
) -> Deployed:
    """Where a deployment answers.

    Args:
        desired: as it was asked for.
        runs: model and version that answer.
        sight: what is known of it.
        before: where it answered by the last snapshot.
        address: of this machine, as others reach it; empty = nobody else does.
    """
    nowhere = Deployed(*runs, zone=str(desired.document["metadata"]["labels"].get(ZONE, "")))
    seen = sight.observed
    if sight.unseen:  # nobody knows better than the last time
        return replace(nowhere, endpoints=tuple(before), looked=sight is not NEVER)
    if seen is None or not seen.url or not any(one.phase in _LIVES for one in seen.replicas):
        return nowhere
    public = desired.spec["access"]["expose"] == "public"
    url = reachable(seen.url.rstrip("/"), address if public else "")
    # A new revision may answer elsewhere: until the old one is gone, both places are good.
    old = () if _settled(seen, desired) else (one.url for one in before if one.url != url)
    ready = any(one.phase is Phase.READY for one in seen.replicas)
    return replace(nowhere, endpoints=tuple(map(Endpoint, (url, *old))), ready=ready)


def reachable(url: str, address: str) -> str:
    """An address of this machine as other machines reach it.

    Args:
        url: `http://127.0.0.1:8000`; what is no loopback stays as it is.
        address: name or number of this machine; empty = nothing is known.
    """
    parts = urlsplit(url)
    if not address or parts.hostname not in _HERE:
        return url
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{host}{port}", "", "", ""))


def _settled(seen: Observed, desired: Desired) -> bool:
    """No replica of another revision than the wanted one answers."""
    return not any(
        one.phase is Phase.READY and one.revision not in {0, desired.wanted}
        for one in seen.replicas
    )
