"""What the target `local` and the supervisor of a deployment's replicas tell each other, as files.

One folder a deployment. The target writes `wanted.json`, the supervisor `status.json`; each file
has one writer and is replaced as a whole.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from modelworks.core import codec
from modelworks.core.deployment import Replica
from modelworks.core.served import ServedModel


@dataclass(frozen=True, slots=True)
class Probes:
    """When a replica is ready, and when it is started anew; see the manifest.

    Attributes:
        startup_s: for loading the model.
        period_s: between two looks.
        timeout_s: for an answer.
        failures: in a row; then it is not ready, and after three times as many started anew.
    """

    startup_s: float
    period_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class LocalShare:
    """So many replicas of one revision, as processes of this machine.

    Attributes:
        revision: number.
        replicas: how many.
        model: what they serve.
        environment: of their servers; each gets a socket of its own on top.
        secrets: variables whose values lie in the revision's private folder: name -> source.
        files: secrets that lie there as files, the same.
        cpu: cores that the machine has to have for it.
        cores: that a replica may use; 0 = all.
        memory_bytes: that a replica may hold.
        host: where they listen.
        port: on which.
        probes: when they are ready.
        drain_s: for requests that they still have at their end.
    """

    revision: int
    replicas: int
    model: ServedModel
    environment: dict[str, str]
    secrets: dict[str, str]
    files: dict[str, str]
    cpu: float
    cores: int
    memory_bytes: int
    host: str
    port: int
    probes: Probes
    drain_s: float

    @property
    def digest(self) -> str:
        """Of all that a replica is; not of how many there are."""
        said = codec.encode(self)
        del said["replicas"]
        return _digest(said)


@dataclass(frozen=True, slots=True)
class LocalWanted:
    """What the supervisor is to run.

    Attributes:
        name: of the deployment.
        shares: by revision.
        labels: of the manifest.
        description: of the manifest.
        url: where its replicas answer.
        digest: of all that stands here; another one = somebody edited the file.
    """

    name: str
    shares: tuple[LocalShare, ...]
    labels: dict[str, str] = field(default_factory=dict)
    description: str = ""
    url: str = ""
    digest: str = ""

    def text(self) -> str:
        """Of the file, with the digest."""
        said = codec.encode(self) | {"digest": self.own()}
        return json.dumps(said, indent=1, sort_keys=True) + "\n"

    def own(self) -> str:
        """The digest that it ought to have."""
        said = codec.encode(self)
        del said["digest"]
        return _digest(said)


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What the supervisor saw.

    Attributes:
        applied: digest of what it was told last and obeys.
        replicas: all of them.
        pids: process of each replica that lives.
        problem: why no replica can start; "" = they can.
        port_taken: it is that somebody else has the port.
    """

    applied: str
    replicas: tuple[Replica, ...] = ()
    pids: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    port_taken: bool = False

    def text(self) -> str:
        """Of the file."""
        return json.dumps(codec.encode(self), indent=1) + "\n"


def _digest(said: Any) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
