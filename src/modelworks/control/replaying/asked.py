"""What a replay is asked for. Pure values."""

from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError

LIMIT: Final = 10_000
MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Which records are played, and how they are judged.

    Attributes:
        model: name; the records are of its stable version.
        candidate: version that is asked.
        stable: version whose recorded answers count.
        since_ns: UTC, the first instant.
        until_ns: UTC, the first instant that is not.
        speed: recorded gaps are divided by it; 0 = as fast as it goes.
        limit: requests at most; of more, so many are drawn, each as likely as the others.
        in_flight: under way at most.
        timeout_s: for an answer.
        slices: `country=de`: agreement is judged in each too.
        allow: share of the answers that may differ; None = it is no gate.
        harm: error rate above that of the records that is allowed.
        false_alarm: chance of ever finding harm where there is none, of each judgement.
        false_pass: chance of ever passing what differs more than is allowed.
    """

    model: str
    candidate: str
    stable: str
    since_ns: int
    until_ns: int
    speed: float = 1.0
    limit: int = LIMIT
    in_flight: int = 32
    timeout_s: float = 30.0
    slices: tuple[str, ...] = ()
    allow: float | None = None
    harm: float = 0.005
    false_alarm: float = 0.01
    false_pass: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.since_ns >= self.until_ns:
            raise InvalidError("the window ends before it begins", field="since")
        if not 1 <= self.limit <= MOST:
            raise InvalidError(f"limit: from 1 to {MOST:,}", field="limit")
        if self.allow is not None and not 0 < self.allow < 1:
            raise InvalidError("allow: a share above 0 % and below 100 %", field="allow")
        for one in self.slices:
            if "=" not in one:
                raise InvalidError(f"slice '{one}': write FIELD=VALUE", field="slice")

    @property
    def ref(self) -> str:
        """`fraud:2.0.0`."""
        return f"{self.model}:{self.candidate}"
