"""What the settings say about jobs: where they are kept, how long, how many, what they reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelworks.apps.options import check_ranges
from modelworks.core.errors import InvalidError
from modelworks.serving.jobs.options import JobOptions

_LEAST_SECRET: Final = 16
_GOES_WITH: Final = ("jobs_outside", "jobs_secret")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What one server is told of jobs.

    Attributes:
        jobs: folder that asynchronous requests are kept in, on a disk of this machine; "" = none
            are accepted.
        jobs_keep_seconds: that a job and its result stay after its end.
        jobs_bytes: of bodies and results together.
        jobs_open: of one caller, that may wait or run at once.
        jobs_outside: hosts and networks that inputs may come from and callbacks go to, with commas
            between: `hooks.example.com,*.store.example.com,10.1.0.0/16`; "" = none.
        jobs_secret: file of the secret that signs callbacks; "" = they are not signed.
    """

    jobs: str = ""
    jobs_keep_seconds: float = 86400.0
    jobs_bytes: int = 1 << 30
    jobs_open: int = 100_000
    jobs_outside: str = ""
    jobs_secret: str = ""

    def check_jobs(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InvalidError: `field` names the setting.
        """
        check_ranges(self, _RANGES)
        for name in _GOES_WITH:
            if getattr(self, name) and not self.jobs:
                raise InvalidError(f"{name} goes with jobs, the folder they lie in", field=name)


JOBS_HELP: Final = {
    "jobs": ("FOLDER", "Accept asynchronous requests, and keep them there"),
    "jobs_keep_seconds": ("S", "That a job stays after its end (86400)"),
    "jobs_bytes": ("BYTES", "Of jobs and results that are kept (1073741824)"),
    "jobs_open": ("N", "Jobs of one caller that may wait or run at once (100000)"),
    "jobs_outside": ("HOSTS", "Where inputs may come from and callbacks go to"),
    "jobs_secret": ("FILE", "Secret that signs callbacks"),
}
"""Metavariable and meaning of each option, by field of `JobSettings`."""
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "jobs_keep_seconds": (1, 30 * 86400),
    "jobs_bytes": (1 << 20, 1 << 40),
    "jobs_open": (1, 10_000_000),
}


def jobs_of(settings: JobSettings) -> JobOptions | None:
    """How jobs are kept; None = they are not.

    Raises:
        InvalidError: the secret cannot be read, or is short.
    """
    if not settings.jobs:
        return None
    return JobOptions(
        folder=Path(settings.jobs).absolute(),
        keep_s=settings.jobs_keep_seconds,
        most_bytes=settings.jobs_bytes,
        most_open=settings.jobs_open,
        outside=tuple(part.strip() for part in settings.jobs_outside.split(",") if part.strip()),
        secret=_secret(settings.jobs_secret),
    )


def _secret(path: str) -> bytes:
    if not path:
        return b""
    try:
        found = Path(path).read_bytes().strip()
    except OSError as error:
        raise InvalidError(
            f"jobs_secret: {path} cannot be read: {error.strerror}", field="jobs_secret"
        ) from error
    if len(found) < _LEAST_SECRET:
        raise InvalidError(
            f"jobs_secret: {path} has fewer than {_LEAST_SECRET} bytes: make one with: "
            "openssl rand -hex 32",
            field="jobs_secret",
        )
    return found
