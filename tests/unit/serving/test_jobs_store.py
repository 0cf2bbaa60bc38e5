"""The jobs' file: what is accepted, claimed, ended, taken back, dropped; and what is damaged."""

import itertools
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from jobs_desk import SECOND, submission
from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    LimitedError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.ids import now_ns
from modelworks.core.jobs import MOVES, CallbackState, JobState
from modelworks.serving.jobs import store, work
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.rows import Ending, Line
from modelworks.serving.jobs.schema import OVERHEAD, connect

pytestmark = pytest.mark.unit
LINE = Line("m", "", remote=False)


@pytest.fixture
def options(tmp_path):
    return JobOptions(tmp_path)


@pytest.fixture
def base(tmp_path):
    with closing(connect(tmp_path / "jobs.sqlite")) as found:
        yield found


def put(base, options, *texts, **more):
    return [store.submit(base, options, submission(text, **more), look=True).id for text in texts]


def take(base, runner="r", most=10, *, line=LINE, now=0, suspects=False, size=1 << 20):
    return work.claim(base, runner, line, now or now_ns(), most, size, suspects=suspects)


def done(job, text=b"y", state=JobState.DONE, **more):
    return Ending(job.seq, job.attempt, state, body=text, **more)


def totals(base):
    return base.execute("SELECT open, bytes FROM totals").fetchone()


def test_a_job_is_accepted_runs_and_has_its_result_once(base, options):
    first, second = put(base, options, b"one", b"two")
    assert store.look(base, "", second).position == 1
    claim = take(base)
    assert [job.body for job in claim.jobs] == [b"one", b"two"]
    assert take(base, "other").jobs == ()
    assert work.end(base, "r", [done(claim.jobs[0])], now_ns()) == [True]
    assert work.end(base, "r", [done(claim.jobs[0], b"again")], now_ns()) == [False]
    assert store.result(base, "", first).body == b"y"
    told = store.look(base, "", first)
    assert (told.state, told.attempts, told.position) == (JobState.DONE, 1, None)
    assert told.created_ns <= told.started_ns <= told.ended_ns
    assert store.look(base, "", second).state is JobState.RUNNING
    assert base.execute("SELECT COUNT(*) FROM inputs").fetchone() == (1,)


def test_what_names_another_attempt_or_runner_changes_nothing(base, options):
    put(base, options, b"x")
    (job,) = take(base).jobs
    assert work.end(base, "stranger", [done(job)], now_ns()) == [False]
    assert work.end(base, "r", [replace(done(job), attempt=7)], now_ns()) == [False]
    assert work.end(base, "r", [done(job)], now_ns()) == [True]


def test_the_same_key_is_the_same_job_and_another_body_under_it_is_refused(base, options):
    told = submission(b"x", key="k", digest=b"1")
    first = store.submit(base, options, told, look=False)
    again = store.submit(base, options, submission(b"x", key="k", digest=b"1"), look=False)
    assert again.id == first.id
    with pytest.raises(ConflictError, match="came before"):
        store.submit(base, options, submission(b"z", key="k", digest=b"2"), look=False)
    other = submission(b"x", key="k", digest=b"1", owner="somebody else")
    assert store.submit(base, options, other, look=False).id != first.id
    (job, _) = take(base).jobs
    work.end(base, "r", [done(job)], now_ns())
    assert store.submit(base, options, told, look=False).state is JobState.DONE


def test_nobody_sees_or_cancels_what_is_somebody_elses(base, options):
    (job,) = put(base, options, b"x", owner="a")
    for act in (store.look, store.result):
        with pytest.raises(NotFoundError, match="no job"):
            act(base, "b", job)
    with pytest.raises(NotFoundError):
        store.cancel(base, "b", job, 1)
    assert store.listed(base, "b", {}, "", 10) == []
    assert [one.id for one in store.listed(base, "a", {}, "", 10)] == [job]


def test_a_caller_has_so_many_open_jobs_and_the_file_so_many_bytes(base, tmp_path):
    options = JobOptions(tmp_path, most_open=2, most_bytes=3 * OVERHEAD)
    put(base, options, b"1", b"2", owner="a")
    with pytest.raises(LimitedError, match="2 jobs wait or run already"):
        put(base, options, b"3", owner="a")
    with pytest.raises(UnavailableError, match="may keep"):
        put(base, options, b"3" * OVERHEAD, owner="b")
    for job in take(base).jobs:
        work.end(base, "r", [done(job, b"")], now_ns())
    put(base, options, b"", owner="a")  # ended ones count no more
    assert totals(base) == (1, 3 * OVERHEAD)


def test_cancelling_ends_what_waits_or_runs_and_nothing_else(base, options):
    waiting, running, ended = put(base, options, b"1", b"2", b"3")
    store.cancel(base, "", waiting, 5)
    two, three = take(base).jobs
    assert work.end(base, "r", [done(three)], now_ns()) == [True]
    assert store.cancel(base, "", running, 5).state is JobState.CANCELLED
    assert store.cancel(base, "", running, 6).ended_ns == 5  # twice is quiet
    assert work.end(base, "r", [done(two)], now_ns()) == [False]  # its result comes too late
    with pytest.raises(ConflictError, match="has no result: it was cancelled"):
        store.result(base, "", running)
    with pytest.raises(ConflictError, match="done already"):
        store.cancel(base, "", ended, 7)
    assert base.execute("SELECT COUNT(*) FROM inputs").fetchone() == (0,)


def test_a_result_before_the_end_is_refused(base, options):
    (job,) = put(base, options, b"1")
    with pytest.raises(ConflictError, match="is queued: it has no result yet"):
        store.result(base, "", job)


def test_the_list_goes_page_by_page_and_is_filtered(base, options):
    jobs = put(base, options, *(b"%d" % n for n in range(5)))
    put(base, options, b"x", model="other")
    store.cancel(base, "", jobs[0], 1)
    page = store.listed(base, "", {"model": "m"}, "", 2)
    assert [job.id for job in page] == [jobs[4], jobs[3]]
    page = store.listed(base, "", {"model": "m"}, page[-1].id, 10)
    assert [job.id for job in page] == [jobs[2], jobs[1], jobs[0]]
    assert [job.id for job in store.listed(base, "", {"state": "cancelled"}, "", 9)] == [jobs[0]]


def test_another_attempt_is_due_later_and_counted(base, options):
    (name,) = put(base, options, b"x")
    (job,) = take(base).jobs
    due = now_ns() + 60 * SECOND
    again = done(job, b"", JobState.QUEUED, error="busy", due_ns=due)
    assert work.end(base, "r", [again], now_ns()) == [True]
    assert store.look(base, "", name).state is JobState.QUEUED
    assert take(base).jobs == ()
    assert [one.attempt for one in take(base, now=due).jobs] == [2]


def test_what_the_dead_had_runs_again_alone_until_it_has_cost_too_much(base, options):
    first, _second = put(base, options, b"1", b"2")
    for turn in range(3):
        runner = f"r{turn}"
        claim = take(base, runner, suspects=True)
        assert len(claim.jobs) == (2 if turn == 0 else 1)
        if turn:
            assert claim.jobs[0].suspect
            assert take(base, "other").suspect  # the next one has to run alone too
        assert work.holders(base) == {runner}
        work.bury(base, {runner}, 3, now_ns())
    told = store.look(base, "", first)
    assert told.state is JobState.FAILED
    assert "3 times" in told.error
    assert store.result(base, "", first).status == 500
    (job,) = take(base, suspects=True).jobs  # its neighbour was innocent
    assert work.end(base, "r", [done(job)], now_ns()) == [True]


def test_what_was_taken_and_not_begun_is_given_back_as_if_nothing_had_been(base, options):
    (name,) = put(base, options, b"1")
    take(base)
    assert work.release(base, "r") == 1
    assert store.look(base, "", name).attempts == 0
    assert [one.suspect for one in take(base).jobs] == [False]


def test_what_waits_too_long_expires_and_what_was_kept_long_enough_goes(base, tmp_path):
    options = JobOptions(tmp_path, keep_s=10)
    now = now_ns()
    (late,) = put(base, options, b"1", deadline_ns=now - 1)
    (kept,) = put(base, options, b"2")
    assert work.unclear(base, options, now)
    work.clear(base, options, now)
    assert store.look(base, "", late).state is JobState.EXPIRED
    assert not work.unclear(base, options, now)
    work.clear(base, options, now + 11 * SECOND)
    with pytest.raises(NotFoundError):
        store.look(base, "", late)
    assert store.look(base, "", kept).state is JobState.QUEUED
    assert totals(base)[0] == 1


def test_ended_jobs_make_room_before_their_time_the_oldest_first(base, tmp_path):
    options = JobOptions(tmp_path, most_bytes=20 * OVERHEAD)
    jobs = put(base, options, *[b"x"] * 10)
    for at, job in enumerate(take(base, suspects=False).jobs):
        work.end(base, "r", [done(job, b"y" * OVERHEAD)], now_ns() + at)
    work.clear(base, options, now_ns())
    left = [job.id for job in store.listed(base, "", {}, "", 100)]
    assert left == jobs[:0:-1]  # all but the first: 18 of 20 parts are kept
    assert totals(base) == (0, 18 * OVERHEAD)


def test_jobs_that_somebody_is_to_be_told_of_make_room_last(base, tmp_path):
    options = JobOptions(tmp_path, most_bytes=20 * OVERHEAD)
    telling = put(base, options, *[b"x"] * 2, callback="http://h/")
    others = put(base, options, *[b"x"] * 8)
    for at, job in enumerate(take(base).jobs):
        work.end(base, "r", [done(job, b"y" * OVERHEAD)], now_ns() + at)
    work.clear(base, options, now_ns())
    left = [job.id for job in store.listed(base, "", {}, "", 100)]
    assert left == [*others[:0:-1], *telling[::-1]]
    work.clear(base, JobOptions(tmp_path, most_bytes=round(2.5 * OVERHEAD)), now_ns())
    assert [job.id for job in store.listed(base, "", {}, "", 100)] == telling[1:]


def test_callbacks_are_taken_once_and_told_again_later(base, options):
    (name,) = put(base, options, b"1", callback="http://h/")
    assert store.look(base, "", name).callback_state is CallbackState.WAITING
    (job,) = take(base).jobs
    work.end(base, "r", [done(job, b"answer")], now_ns())
    (due,) = work.callbacks(base, "r", now_ns(), 9)
    assert (due.id, due.result.body, due.tries) == (name, b"answer", 0)
    assert work.callbacks(base, "other", now_ns(), 9) == []
    later = now_ns() + 60 * SECOND
    work.told(base, "r", due, CallbackState.PENDING, "it answered 500", later)
    assert not work.calling(base, now_ns())
    (due,) = work.callbacks(base, "r", later, 9)
    work.told(base, "r", due, CallbackState.DEAD, "it answered 500", 0)
    told = store.look(base, "", name)
    assert (told.callback_state, told.callback_tries) == (CallbackState.DEAD, 2)
    assert told.state is JobState.DONE
    assert work.counts(base).callbacks == {"pending": 0, "dead": 1}


def test_a_callback_of_a_dead_runner_is_made_by_another(base, options):
    put(base, options, b"1", callback="http://h/")
    (job,) = take(base).jobs
    work.end(base, "r", [done(job)], now_ns())
    assert len(work.callbacks(base, "dead", now_ns(), 9)) == 1
    assert work.bury(base, {"dead"}, 3, now_ns()) == 0
    assert len(work.callbacks(base, "r", now_ns(), 9)) == 1


def test_every_state_moves_only_as_the_table_says(base, options):
    """Whatever is done to a job in whichever state, what the file says next is in the table."""
    base.execute("BEGIN")  # one commit for all: a disk takes its time for each
    for state, act in itertools.product(JobState, range(6)):
        (name,) = put(base, options, b"x", deadline_ns=now_ns() + SECOND)
        (job,) = take(base).jobs
        if state is JobState.QUEUED:
            work.release(base, "r")
        elif state is not JobState.RUNNING:
            work.end(base, "r", [done(job, b"", state)], now_ns())
        before = store.look(base, "", name).state
        assert before is state
        acts = (
            lambda name=name: store.cancel(base, "", name, now_ns()),
            lambda job=job: work.end(base, "r", [done(job)], now_ns()),
            lambda job=job: work.end(base, "r", [done(job, b"", JobState.QUEUED)], now_ns()),
            lambda: work.clear(base, options, now_ns() + 2 * SECOND),
            lambda: work.bury(base, {"r"}, 9, now_ns()),
            lambda: take(base, suspects=True),
        )
        with suppress(ConflictError):
            acts[act]()
        after = store.look(base, "", name).state
        assert after is before or after in MOVES[before], (before, act, after)
        base.execute("DELETE FROM jobs")
    assert base.execute("SELECT SUM(jobs), SUM(jobs != 0) FROM states").fetchone() == (0, 0)
    assert totals(base) is None or totals(base) == (0, 0)
    base.execute("COMMIT")


def test_a_body_that_was_damaged_on_the_disk_is_told_and_the_rest_is_served(base, options):
    put(base, options, b"good", b"bad", b"good")
    base.execute("UPDATE inputs SET body = ? WHERE body = ?", (b"BAD", b"bad"))
    assert [job.body for job in take(base).jobs] == [b"good", None, b"good"]


def test_a_result_that_was_damaged_on_the_disk_is_refused(base, options):
    (name,) = put(base, options, b"1")
    work.end(base, "r", [done(take(base).jobs[0])], now_ns())
    base.execute("UPDATE results SET body = x'00'")
    with pytest.raises(CorruptError, match="damaged on the disk"):
        store.result(base, "", name)


@pytest.mark.parametrize("cut", [1, 100, 4096, 9000])
def test_a_journal_cut_in_the_middle_of_a_record_loses_that_record_alone(tmp_path, cut):
    """As after a crash of the machine: the last commit is half there, those before are whole."""
    options = JobOptions(tmp_path)
    path = tmp_path / "jobs.sqlite"
    names = []
    with closing(connect(path)) as base:
        base.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(4):
            base.execute("BEGIN IMMEDIATE")
            names += put(base, options, b"%d" % number * 20_000)
            base.execute("COMMIT")
        torn = tmp_path / "torn"
        torn.mkdir()
        shutil.copy(path, torn / "jobs.sqlite")
        data = (tmp_path / "jobs.sqlite-wal").read_bytes()
        # Cut, and then as long as before: some disks leave zeros where nothing was written.
        (torn / "jobs.sqlite-wal").write_bytes(data[:-cut] + bytes(cut))
    with closing(connect(torn / "jobs.sqlite")) as base:
        found = [job.id for job in reversed(store.listed(base, "", {}, "", 9))]
        assert found == names[:3]
        assert [job.body for job in take(base).jobs] == [b"%d" % n * 20_000 for n in range(3)]
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_no_such_file_is_told_with_the_cure(tmp_path):
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(CorruptError, match="move it away"):
        connect(path)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA user_version = 99")
    with pytest.raises(UnsupportedError, match="newer Modelworks"):
        connect(path)


def test_space_of_what_went_is_given_back(base, options, tmp_path):
    put(base, options, *[b"x" * 100_000] * 20)
    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "jobs.sqlite").stat().st_size
    base.execute("BEGIN")
    base.execute("DELETE FROM jobs")
    for _ in range(8):
        work.clear(base, options, now_ns())
    base.execute("COMMIT")
    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "jobs.sqlite").stat().st_size < before / 4
