"""Roll-outs at a control plane elsewhere: the verbs of commands, each a request to its API."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from modelworks.apps.embed import Settings
from modelworks.client.wire import Wire
from modelworks.control.rollouts.kept import Asked, Event, Kept
from modelworks.control.rollouts.report.looks import Look
from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.model import ModelVersion
from modelworks.core.reference import parse_ref
from modelworks.core.rollouts import Plan
from modelworks.rollout.why_not import Gate

_ROOT = "/api/v1/rollouts"
_MOST = 200


class Verbs(Protocol):
    """What commands ask for, here and elsewhere."""

    def every(self) -> list[Kept]:
        """All."""
        ...

    def get(self, name: str) -> Kept:
        """One."""
        ...

    def history(self, name: str) -> list[Event]:
        """What happened to one, oldest first."""
        ...

    def looks(self, name: str) -> list[Look]:
        """Looks at one that were kept."""
        ...

    def gates(self, ref: str) -> tuple[str, list[Gate]]:
        """A version, and what it has to pass."""
        ...

    def start(self, plan: Plan, asked: Asked) -> Kept:
        """Begin one."""
        ...

    def pause(self, name: str, reason: str = "") -> Kept:
        """Let everything stand."""
        ...

    def resume(self, name: str) -> Kept:
        """Go on."""
        ...

    def promote(self, name: str, reason: str = "", arm: str = "") -> Kept:
        """Give all traffic to a candidate."""
        ...

    def abort(self, name: str, reason: str = "") -> Kept:
        """Give all traffic back."""
        ...


class Elsewhere:
    """Fulfils `Verbs` over HTTP.

    Args:
        settings: with the URL, its TLS and key.
    """

    def __init__(self, settings: Settings) -> None:
        cure = "start it with: modelworks up"
        url = settings.url or ""
        self._wire = Wire(url, "control plane", cure, settings.tls, settings.key)
        self._manifest: dict[str, str] = {}

    def every(self) -> list[Kept]:
        """See `Verbs`; by name."""
        found: list[Kept] = []
        after = ""
        while True:
            page = self._get(_ROOT, {"after": after, "limit": str(_MOST)})
            found += codec.decode(list[Kept], page["rollouts"])
            after = page["after"]
            if not after:
                return found

    def get(self, name: str) -> Kept:
        """See `Verbs`."""
        return codec.decode(Kept, self._get(_one(name)))

    def history(self, name: str) -> list[Event]:
        """See `Verbs`."""
        found: list[Event] = []
        after = 0
        while True:
            page = self._get(_one(name) + "/history", {"after": str(after)})
            found += codec.decode(list[Event], page["events"])
            after = page["after"]
            if not after:
                return found

    def looks(self, name: str) -> list[Look]:
        """See `Verbs`."""
        return codec.decode(list[Look], self._get(_one(name) + "/report")["looks"])

    def gates(self, ref: str) -> tuple[str, list[Gate]]:
        """See `Verbs`."""
        path = quote(str(parse_ref(ref)), safe="@:")
        version = codec.decode(ModelVersion, self._get(f"/api/v1/versions/{path}"))
        answer = self._get(f"/api/v1/why-not/{path}")
        return version.ref, codec.decode(list[Gate], answer["gates"])

    def from_manifest(self, text: str, environment: str) -> None:
        """Which manifest `start` sends: the other side reads and checks it once more."""
        self._manifest = {"manifest": text, "environment": environment}

    def start(self, plan: Plan, asked: Asked) -> Kept:
        """See `Verbs`."""
        if not self._manifest:
            raise InvalidError("a roll-out elsewhere is started from a manifest", field="manifest")
        body = {**self._manifest, "name": plan.name, "asked": codec.encode(asked)}
        return codec.decode(Kept, self._wire.json("POST", _ROOT, data=body))

    def pause(self, name: str, reason: str = "") -> Kept:
        """See `Verbs`."""
        return self._post(name, "pause", {"reason": reason})

    def resume(self, name: str) -> Kept:
        """See `Verbs`."""
        return self._post(name, "resume", {})

    def promote(self, name: str, reason: str = "", arm: str = "") -> Kept:
        """See `Verbs`."""
        return self._post(name, "promote", {"reason": reason, "arm": arm})

    def abort(self, name: str, reason: str = "") -> Kept:
        """See `Verbs`."""
        return self._post(name, "abort", {"reason": reason})

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return self._wire.json("GET", path, query=query)

    def _post(self, name: str, verb: str, body: Mapping[str, str]) -> Kept:
        return codec.decode(Kept, self._wire.json("POST", f"{_one(name)}/{verb}", data=body))


def _one(name: str) -> str:
    return f"{_ROOT}/{quote(name, safe='')}"
