"""The verb: read the records, play them to a server that is there, say what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.pairing import Comparing
from modelworks.control.replaying.report import Report, reported
from modelworks.control.replaying.traffic import Recorded, Traffic, read
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.model import ModelVersion
from modelworks.core.records import Scan
from modelworks.core.tensor import Signature
from modelworks.measure.histogram import Histogram
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.played import Play, play
from modelworks.measure.target import Target
from modelworks.monitor.feedback.joining import Join

Progress = Callable[[float, int, int], None]
CHAMPION: Final = "champion"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Ready:
    """A replay that can begin.

    Attributes:
        asked: with all that was left open filled in.
        traffic: what is played.
        stable: signature of the version whose answers are recorded.
        candidate: of the one that is asked.
        counted: requests that servers counted; 0 = not known.
    """

    asked: Asked
    traffic: Traffic
    stable: Signature
    candidate: Signature
    counted: int = 0

    @property
    def seconds(self) -> float:
        """That the recorded gaps take at this speed; 0 = there are none."""
        times = [one.at_ns for one in self.traffic.requests]
        return (times[-1] - times[0]) / 1e9 / self.asked.speed if self.asked.speed else 0.0


class Replays:
    """Replays of one tenant.

    Args:
        show: one version, by reference.
        join: of records and feedback.
        counted: requests that servers counted for the stable version in the window; 0 = not known.
        tenant: whose.
    """

    def __init__(
        self,
        show: Callable[[str], ModelVersion],
        join: Callable[[], Join],
        counted: Callable[[Asked], int],
        tenant: str = "default",
    ) -> None:
        self._show = show
        self._join = join
        self._counted = counted
        self._tenant = tenant

    def ready(self, asked: Asked) -> Ready:
        """Read what is to be played.

        Args:
            asked: `stable` may be empty: the champion's records, or the latest version's where
                there is none.

        Raises:
            NotFoundError: no such version, or no record in the window.
            InvalidError: none of the records can be played; the message says why.
            MissingExtraError: the libraries of the store are not installed.
        """
        version = self._show(asked.ref)
        asked = replace(asked, candidate=str(version.version))
        asked = replace(asked, stable=asked.stable or self._champion(asked.model))
        stable = self._show(f"{asked.model}:{asked.stable}").signature
        wanted = Scan(self._tenant, asked.model, "", asked.since_ns, asked.until_ns)
        batches = (joined.batch for joined in self._join().window(wanted))
        traffic = read(asked, version.signature, (batch for batch in batches if batch.count))
        if not traffic.found:
            raise NotFoundError(
                f"no records of '{asked.model}' in this window: serve it with --record, wait until "
                "they are in the store (modelworks records compact), or widen --since",
                field="since",
            )
        if not traffic.requests:
            why = [f"{reason}: {count:,}" for reason, count in traffic.left.items()][:_SHOWN]
            raise InvalidError(
                f"none of {traffic.found:,} recorded requests of '{asked.model}' can be played "
                f"({'; '.join(why)}): keep the fields that the model needs in the policy of the "
                "records, or name the version that answered with --of",
                field="records",
            )
        return Ready(asked, traffic, stable, version.signature, self._counted(asked))

    def play(self, ready: Ready, target: Target, progress: Progress | None = None) -> Report:
        """Play it and compare; Ctrl-C ends it with what was played.

        Args:
            ready: what.
            target: the candidate's own `infer` path.
            progress: seconds so far, answers, failures.

        Raises:
            UnavailableError: nothing listens there.
        """
        asked, requests = ready.asked, ready.traffic.requests
        wanted = Play(
            target,
            [_request(target, one) for one in requests],
            [one.at_ns for one in requests],
            *(asked.speed, asked.in_flight, asked.timeout_s),
        )
        played = play(wanted, progress)
        compared = Comparing(ready.stable, ready.candidate, asked.slices).compare(requests, played)
        recorded = Histogram()
        recorded.record([requests[place].total_ns for place in played.answers])
        return reported(asked, ready.traffic, played, compared, recorded, ready.counted)

    def _champion(self, model: str) -> str:
        try:
            return str(self._show(f"{model}@{CHAMPION}").version)
        except NotFoundError:
            return str(self._show(model).version)


def path_of(asked: Asked, path: str = "") -> str:
    """Where a server of the Open Inference Protocol answers for the candidate.

    Args:
        asked: names it.
        path: of the URL that was given; one that names a model is taken as it is.
    """
    if "/v2/models/" in path:
        whole = path.rstrip("/")
        return whole if whole.endswith("/infer") else f"{whole}/infer"
    version = quote(asked.candidate, safe="")
    return f"{path.rstrip('/')}/v2/models/{quote(asked.model, safe='')}/versions/{version}/infer"


def _request(target: Target, one: Recorded) -> bytes:
    return request_bytes(target, Body(one.body, one.content_type, one.headers))
