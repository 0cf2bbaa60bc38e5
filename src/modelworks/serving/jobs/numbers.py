"""What is scraped of jobs: the same from whichever worker is asked, but for what it counts."""

from modelworks.core.ids import now_ns
from modelworks.core.jobs import CallbackState, JobState
from modelworks.protocol.openmetrics import Family, Kind
from modelworks.serving.jobs.rows import Counts


def families(counts: Counts, accepted: int, refused: int, problem: str) -> list[Family]:
    """Families of one moment.

    Args:
        counts: of the file.
        accepted: submissions that this worker took.
        refused: that it did not.
        problem: why the file takes nothing; empty = it does.
    """
    jobs = Family("modelworks_jobs", Kind.GAUGE, "Jobs that are kept, by state.")
    for state in JobState:
        jobs.add(counts.states.get(state, 0), {"state": state})
    telling = Family("modelworks_job_callbacks", Kind.GAUGE, "Callbacks that were not taken yet.")
    for waiting in (CallbackState.PENDING, CallbackState.DEAD):
        telling.add(counts.callbacks.get(waiting, 0), {"state": waiting})
    kept = Family("modelworks_job_bytes", Kind.GAUGE, "Of bodies and results that are kept.")
    kept.add(counts.bytes)
    text = "Age of the oldest job that waits."
    oldest = Family("modelworks_job_oldest_seconds", Kind.GAUGE, text)
    oldest.add(max(0.0, (now_ns() - counts.oldest_ns) / 1e9) if counts.oldest_ns else 0.0)
    text = "Submissions to the worker that was asked, by what became of them."
    came = Family("modelworks_job_submissions", Kind.COUNTER, text)
    came.add(accepted, {"outcome": "accepted"})
    came.add(refused, {"outcome": "refused"})
    text = "1 while the jobs' file takes nothing: its disk is full, or it is damaged."
    stuck = Family("modelworks_job_file_stuck", Kind.GAUGE, text)
    stuck.add(1 if problem else 0)
    return [jobs, telling, kept, oldest, came, stuck]
