"""Jobs on a loop with a real model: in, run, out; cancelled, refused, late, full, told."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from jobs_desk import Asked, Receiver, Station, body, run, submission, until
from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.core.ids import now_ns
from modelworks.core.served import Batching, ServedList
from modelworks.core.stateful import Sequences, State
from modelworks.protocol.oip.caller import build_request, read_response
from modelworks.protocol.routes.access import Caller
from modelworks.serving.infer import infer
from modelworks.serving.jobs import store, work
from modelworks.serving.jobs.callbacks import signature
from modelworks.serving.jobs.exchange import JobExchange
from modelworks.serving.jobs.holder import Holder
from modelworks.serving.jobs.ledger import Ledger
from modelworks.serving.jobs.outside import Outside
from modelworks.serving.jobs.owners import owner_of
from modelworks.serving.jobs.rows import Line

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """What is looked at every second, or half of one, is looked at more often."""
    monkeypatch.setattr("modelworks.serving.jobs.runner._PERIOD_S", 0.05)
    monkeypatch.setattr("modelworks.serving.jobs.lane._ABSENT_S", 0.02)


def test_a_job_gives_what_the_request_gives_letter_by_letter(tmp_path):
    async def main(station):
        whole = Asked(b"POST", body(1, 2, 3))
        infer(station.table.resolve("double"), whole)
        await whole.told()
        status, told = await station.submit(body(1, 2, 3))
        assert (status, told["state"], told["model"]) == (202, "queued", "double")
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"]) == ("done", 1)
        asked = Asked()
        station.desk.methods([told["id"], "result"])[b"GET"](asked)
        await asked.told()
        assert asked.answer == whole.answer
        assert asked.status == 200

    run(main, tmp_path)


def test_a_binary_job_gives_binary_tensors(tmp_path):
    async def main(station):
        text, kind, further = build_request({"x": np.ones((2, 3), np.float32)})
        headers = {k.decode().lower().replace("-", "_"): v for k, v in further}
        _, told = await station.submit(text, content_type=kind, **headers)
        assert (await station.ended(told["id"]))["state"] == "done"
        asked = Asked()
        station.desk.methods([told["id"], "result"])[b"GET"](asked)
        await asyncio.wait_for(asked._over.wait(), 10)
        length = int(asked.given["Inference-Header-Content-Length"])
        np.testing.assert_array_equal(read_response(asked.answer, length).outputs["y"], 2.0)

    run(main, tmp_path)


def test_many_at_once_share_commits_and_calls_and_each_has_its_own_answer(tmp_path):
    async def main(station):
        told = await asyncio.gather(*(station.submit(body(n, n, n)) for n in range(300)))
        assert {status for status, _ in told} == {202}
        for number in (0, 7, 299):
            job = told[number][1]["id"]
            await station.ended(job)
            _, result = await station.ask(job, "result")
            assert result["outputs"][0]["data"] == [2.0 * number] * 3
        live = station.table.resolve("double")
        numbers = live.recorder.read()
        assert numbers.calls < 300

    run(main, tmp_path)


@pytest.mark.parametrize(
    ("text", "headers", "field"),
    [
        (b"{", {}, "body"),
        (b"{}", {}, "inputs"),
        (None, {"idempotency_key": b"a b"}, "Idempotency-Key"),
        (None, {"job_timeout_seconds": b"0"}, "Job-Timeout-Seconds"),
        (None, {"job_timeout_seconds": b"soon"}, "Job-Timeout-Seconds"),
        (None, {"job_timeout_seconds": b"0000000001999999999"}, "Job-Timeout-Seconds"),
        (None, {"job_inputs": b"http://127.0.0.1/"}, "body"),
        (b"", {"job_inputs": b"http://127.0.0.1/"}, "Job-Inputs"),
        (None, {"job_callback": b"http://169.254.169.254/"}, "Job-Callback"),
        (None, {"job_callback": b"file:///etc/passwd"}, "Job-Callback"),
    ],
)
def test_what_cannot_be_a_job_is_refused_at_once_and_written_nowhere(
    tmp_path, text, headers, field
):
    async def main(station):
        status, told = await station.submit(text, **headers)
        assert status == 400
        assert told.get("field", field) == field
        assert (await station.ask())[1] == {"jobs": []}

    run(main, tmp_path)


def test_unknown_models_jobs_and_words_are_told(tmp_path):
    async def main(station):
        assert (await station.submit(model="nope"))[0] == 404
        assert (await station.ask("no-such-job"))[0] == 404
        assert (await station.ask("no-such-job", method=b"DELETE"))[0] == 404
        with pytest.raises(Exception, match="a job has no"):
            station.desk.methods(["x", "y", "z"])
        endless = b"limit=000000001" + b"0" * 5000
        for query in (
            *(b"limit=0", b"limit=9999", endless),
            *(b"state=odd", b"callback=odd", b"colour=red"),
        ):
            with pytest.raises(InvalidError, match=r"wanted|none of"):
                await station.ask(query=query)

    run(main, tmp_path)


def test_the_same_key_gives_the_same_job(tmp_path):
    async def main(station):
        _, first = await station.submit(idempotency_key=b"k1")
        _, again = await station.submit(idempotency_key=b"k1")
        assert first["id"] == again["id"]
        status, told = await station.submit(body(9, 9, 9), idempotency_key=b"k1")
        assert (status, told["field"]) == (409, "Idempotency-Key")
        for other in ({"content_type": b"text/plain"}, {"job_timeout_seconds": b"9"}):
            assert (await station.submit(idempotency_key=b"k1", **other))[0] == 409
        _, again = await station.submit(idempotency_key=b"k1", x_request_id=b"another try")
        assert first["id"] == again["id"]
        both = await asyncio.gather(*(station.submit(idempotency_key=b"k2") for _ in range(20)))
        assert len({told["id"] for _, told in both}) == 1
        assert len((await station.ask())[1]["jobs"]) == 2

    run(main, tmp_path)


def test_whose_key_submitted_it_sees_it_and_nobody_else(tmp_path):
    async def main(station):
        _, told = await station.submit(authorization=b"a")
        assert (await station.ask(told["id"], authorization=b"a"))[0] == 200
        for rest, method in (([], b"GET"), (["result"], b"GET"), ([], b"DELETE")):
            found = await station.ask(told["id"], *rest, method=method, authorization=b"b")
            assert found[0] == 404
        assert (await station.ask(authorization=b"b"))[1] == {"jobs": []}

    run(main, tmp_path, who=lambda exchange: exchange.headers.get(b"authorization", b"").decode())


def test_a_client_that_leaves_after_sending_harms_nobody(tmp_path):
    async def main(station):
        asked = Asked(b"POST", body())
        station.desk.submit("double", None, asked)
        asked.gone = True
        _, told = await station.submit()
        await station.ended(told["id"])
        assert len((await station.ask())[1]["jobs"]) == 2

    run(main, tmp_path)


def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(tmp_path):
    async def main(station):
        live = station.table.resolve("double")
        held = []
        live.batcher.submit = held.append  # the engine takes them, and does not answer yet
        _, told = await station.submit()
        await station.until(told["id"], {"running"})
        status, cancelled = await station.ask(told["id"], method=b"DELETE")
        assert (status, cancelled["state"]) == (200, "cancelled")
        held[0].succeed([np.zeros((1, 3), np.float32)])
        _, other = await station.submit()
        await until(lambda: len(held) == 2)
        held[1].succeed([np.zeros((1, 3), np.float32)])
        await station.ended(other["id"])
        assert (await station.ask(told["id"]))[1]["state"] == "cancelled"
        assert (await station.ask(told["id"], "result"))[0] == 409

    run(main, tmp_path)


def test_a_job_whose_time_was_over_before_its_turn_is_not_asked(tmp_path):
    async def main(station):
        told = submission(body(), model="double", deadline_ns=now_ns() - 5_000_000_000)
        runner = station.desk._runner
        await runner.ledger.do(
            partial(store.submit, options=station.options, told=told, look=False)
        )
        runner.accepted(Line("double", "", False))
        assert (await station.ended(told.id))["state"] == "expired"

    run(main, tmp_path)


def test_a_tenant_and_a_name_with_a_bar_are_nobody_else():
    class Router:
        closed = True

        def who(self, given):
            tenant, _, name = given.decode().partition(" ")
            return Caller(tenant=tenant, name=name)

    who = owner_of(None, Router())
    owners = {who(Asked(authorization=given)) for given in (b"a b/c", b"a/b c", b"a%2Fb c")}
    assert len(owners) == 3


def test_a_model_that_remembers_takes_no_jobs(tmp_path):
    async def main(station):
        _, told = await station.submit()
        await station.ended(told["id"])
        entry = station.table.entry("double")
        entry.served = replace(entry.served, sequences=Sequences((State("x", "y"),)))
        status, refused = await station.submit()
        assert (status, "ask it at /infer" in refused["error"]) == (400, True)
        assert len((await station.ask())[1]["jobs"]) == 1

    run(main, tmp_path)


def test_what_was_accepted_for_one_that_remembers_by_now_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.desk.orderless", lambda entry: None)

    async def main(station):
        entry = station.table.entry("double")
        entry.served = replace(entry.served, sequences=Sequences((State("x", "y"),)))
        _, told = await station.submit()
        ended = await station.ended(told["id"])
        assert (ended["state"], "remembers" in ended["error"]) == ("failed", True)

    run(main, tmp_path)


def test_a_model_that_is_busy_costs_attempts_until_they_are_used_up(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.lane._FIRST_S", 0.01)

    async def main(station):
        live = station.table.resolve("double")
        submit, tries, refuses = live.batcher.submit, [], []

        def full(member):
            tries.append(member)
            if len(tries) < 3 or refuses:
                raise UnavailableError("the queue is full")
            submit(member)

        live.batcher.submit = full
        _, told = await station.submit()
        station.desk.start()
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"]) == ("done", 3)
        tries.clear()
        refuses.append(True)
        _, told = await station.submit()
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"], len(tries)) == ("failed", 4, 4)
        assert "full" in ended["error"]
        status, result = await station.ask(told["id"], "result")
        assert (status, result["error"]) == (503, "the queue is full")

    run(main, tmp_path, attempts=4)


def test_a_request_that_the_model_refuses_late_fails_with_its_own_error(tmp_path):
    async def main(station):
        live = station.table.resolve("double")

        def crash(member):
            raise ZeroDivisionError

        live.batcher.submit = crash
        _, told = await station.submit()
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"]) == ("failed", 1)
        assert "server's log" in ended["error"]

    run(main, tmp_path)


def test_a_model_that_leaves_the_list_ends_its_jobs_with_the_reason(tmp_path, monkeypatch):
    async def main(station):
        station.desk._runner._closing = True  # nobody runs them meanwhile
        _, told = await station.submit(version="1.0.0")
        await station.table.apply(ServedList(2, ()))
        station.desk._runner._closing = False
        station.desk.start()
        await asyncio.sleep(0.2)
        assert (await station.ask(told["id"]))[1]["state"] == "queued"  # others may know it
        monkeypatch.setattr("modelworks.serving.jobs.lane.GRACE_S", 0.0)
        ended = await station.ended(told["id"])
        assert (ended["state"], (await station.ask(told["id"], "result"))[0]) == ("failed", 404)

    run(main, tmp_path)


def test_a_model_that_is_away_is_waited_for(tmp_path):
    async def main(station):
        await station.table.unload("double")
        _, told = await station.submit()
        station.desk.start()
        await asyncio.sleep(0.05)
        assert (await station.ask(told["id"]))[1]["state"] == "queued"
        await station.table.load("double")
        assert (await station.ended(told["id"]))["state"] == "done"

    run(main, tmp_path)


def test_a_job_that_is_not_begun_by_its_deadline_expires(tmp_path):
    async def main(station):
        await station.table.unload("double")
        _, told = await station.submit(job_timeout_seconds=b"1")
        station.desk.start()
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"]) == ("expired", 0)
        assert "deadline" in ended["error"]

    run(main, tmp_path)


def test_a_job_whose_model_never_answers_expires_at_its_deadline_and_leaves_the_queue(tmp_path):
    async def main(station):
        live = station.table.resolve("double")
        held = []
        live.batcher.submit = held.append
        _, told = await station.submit(job_timeout_seconds=b"1")
        assert (await station.ended(told["id"]))["state"] == "expired"
        assert len(held) == 1

    run(main, tmp_path)


def test_a_batch_of_jobs_lets_others_go_first_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.lane.PATIENCE_S", 0.2)

    async def main(station):
        live = station.table.resolve("double")
        member = JobExchange  # the class is enough: nothing runs it
        live.batcher.items = 1  # somebody waits, all the time
        _, told = await station.submit()
        await station.until(told["id"], {"running"})
        assert live.batcher.busy
        live.batcher.items = 0
        assert (await station.ended(told["id"]))["state"] == "done"
        assert member

    run(main, tmp_path)


def test_batches_are_as_large_as_the_model_takes(tmp_path):
    async def main(station):
        small = ServedList(
            2,
            (
                station.served.__class__(
                    "double",
                    "2.0.0",
                    station.served.path,
                    "sha256:2",
                    batching=Batching(max_batch_size=4),
                ),
            ),
        )
        await station.table.apply(small)
        live = station.table.resolve("double")
        largest = []
        submit = live.batcher.submit

        def seen(member):
            submit(member)
            largest.append(live.batcher.items)

        live.batcher.submit = seen
        runner = station.desk._runner
        runner._closing = True
        told = [await station.submit() for _ in range(10)]
        runner._closing = False
        station.desk.start()
        for _, job in told:
            await station.ended(job["id"])
        assert max(largest) == 4
        assert live.recorder.read().calls == 3

    run(main, tmp_path)


def test_one_look_clears_more_than_one_commit_may(tmp_path):
    async def main(station):
        runner = station.desk._runner

        def many(base):
            for _ in range(1200):
                store.submit(base, station.options, submission(deadline_ns=1), look=False)

        await runner.ledger.do(many)
        await runner._look()
        counts = await runner.ledger.do(work.counts, writes=False)
        assert counts.states == {"queued": 0, "expired": 1200}

    run(main, tmp_path)


def test_what_was_accepted_is_there_after_an_end_and_runs(tmp_path):
    async def first():
        async with Station(tmp_path) as station:
            station.desk._runner._closing = True
            station.desk._runner.close = _nothing
            _, told = await station.submit()
            await station.desk._runner.ledger.close()
            return told["id"]

    job = asyncio.run(first())

    async def main(station):
        station.desk.start()
        assert (await station.ended(job))["state"] == "done"

    run(main, tmp_path)


async def _nothing():
    pass


def test_jobs_of_a_dead_worker_run_again_and_their_lock_is_taken_away(tmp_path):
    async def main(station):
        folder = station.options.folder
        station.desk._runner._closing = True
        _, told = await station.submit()
        station.desk._runner._closing = False
        dead = Holder(folder)
        line = (await station.desk._runner.ledger.do(work.lines))[0]
        take = partial(
            work.claim,
            runner=dead.name,
            line=line,
            now=1 << 62,
            most=9,
            most_bytes=9,
            suspects=True,
        )
        claim = await station.desk._runner.ledger.do(take)
        assert len(claim.jobs) == 1
        station.desk.start()
        await asyncio.sleep(0.05)
        assert (await station.ask(told["id"]))[1]["state"] == "running"  # it lives: hands off
        os.close(dead._handle)  # as its process's end does
        ended = await station.ended(told["id"])
        assert (ended["state"], ended["attempts"]) == ("done", 2)
        names = [path.name for path in folder.glob("*.runner")]
        assert names == [f"{station.desk._runner._holder.name}.runner"]

    run(main, tmp_path)


def test_a_full_disk_is_told_loses_nothing_and_is_over_when_there_is_room(tmp_path):
    async def main(station):
        ledger = station.desk._runner.ledger
        _, first = await station.submit()
        await station.ended(first["id"])
        pages = await ledger.do(lambda base: base.execute("PRAGMA page_count").fetchone()[0])
        await ledger.do(partial(_bound, pages=pages))
        big = json.dumps({"inputs": [], "x": "y" * 200_000}).encode()
        await station.table.unload("double")  # its body is not looked at then
        status, told = await station.submit(big)
        assert status == 503
        assert "disk is full" in told["error"]
        assert (await station.ask(first["id"]))[1]["state"] == "done"
        await ledger.do(partial(_bound, pages=1 << 30))
        assert (await station.submit(big))[0] == 202

    run(main, tmp_path)


def _bound(base, pages):
    """SQLite then says what it says of a full disk."""
    base.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def test_one_that_finds_no_room_does_not_refuse_its_neighbours(tmp_path):
    async def main(station):
        ledger = station.desk._runner.ledger
        await station.submit()
        pages = await ledger.do(lambda base: base.execute("PRAGMA page_count").fetchone()[0])
        await ledger.do(partial(_bound, pages=pages + 8))
        await station.table.unload("double")
        big = b"x" * 200_000
        told = await asyncio.gather(*(station.submit(text) for text in (big, body(), big, body())))
        assert [status for status, _ in told] == [503, 202, 503, 202]

    run(main, tmp_path)


def test_a_result_that_finds_a_full_disk_waits_for_room(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.runner._AGAIN_S", 0.02)

    async def main(station):
        runner = station.desk._runner
        tries = []
        end = work.end

        def full(base, **told):
            tries.append(1)
            if len(tries) < 3:
                raise _full()
            return end(base, **told)

        monkeypatch.setattr("modelworks.serving.jobs.runner.work.end", full)
        _, told = await station.submit()
        assert (await station.ended(told["id"]))["attempts"] == 1
        assert len(tries) >= 3
        assert "disk is full" in runner.problem

    run(main, tmp_path)


def _full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    return error


def test_inputs_come_by_url_when_the_job_runs(tmp_path):
    with Receiver(lambda h: h.say(200, body(4, 5, 6))) as server:

        async def main(station):
            url = f"{server.url}/rows".encode()
            _, told = await station.submit(b"", job_inputs=url)
            ended = await station.ended(told["id"])
            assert ended["state"] == "done", ended
            _, result = await station.ask(told["id"], "result")
            assert result["outputs"][0]["data"] == [8.0, 10.0, 12.0]

        run(main, tmp_path, outside=("127.0.0.1",))


@pytest.mark.parametrize(
    ("status", "text", "wanted"),
    [(404, b"", "answered 404"), (200, b"x" * 2000, "more than 1000 bytes"), (200, b"{", "JSON")],
)
def test_inputs_that_are_not_what_they_should_be_fail_the_job(tmp_path, status, text, wanted):
    with Receiver(lambda h: h.say(status, text)) as server:

        async def main(station):
            _, told = await station.submit(b"", job_inputs=server.url.encode())
            ended = await station.ended(told["id"])
            assert ended["state"] == "failed"
            assert wanted in ended["error"]
            assert (await station.ask(told["id"], "result"))[0] == 400

        run(main, tmp_path, outside=("127.0.0.1",), fetch_bytes=1000)


def test_inputs_that_fail_as_nobody_foresaw_fail_their_job_and_no_other(tmp_path, monkeypatch):
    def get(self, url, seconds, most):
        if url.endswith("odd"):
            raise ValueError("odd")
        return body(4, 5, 6), {}

    monkeypatch.setattr(Outside, "get", get)

    async def main(station):
        urls = [b"http://127.0.0.1/odd", b"http://127.0.0.1/even"]
        told = [(await station.submit(b"", job_inputs=url))[1]["id"] for url in urls]
        states = [(await station.ended(job))["state"] for job in told]
        assert states == ["failed", "done"]
        assert (await station.ask(told[0], "result"))[0] == 500

    run(main, tmp_path, outside=("127.0.0.1",))


def test_a_callback_that_fails_as_nobody_foresaw_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.callbacks._FIRST_S", 0.01)
    tries = []

    def post(self, url, data, headers, seconds):
        tries.append(url)
        if len(tries) == 1:
            raise ValueError("odd")
        return 200

    monkeypatch.setattr(Outside, "post", post)

    async def main(station):
        station.desk.start()
        _, told = await station.submit(job_callback=b"http://127.0.0.1/")
        ended = await station.until(told["id"], {"delivered"}, key="callback")
        assert ended["callback"]["tries"] == 2

    run(main, tmp_path, outside=("127.0.0.1",))


def test_what_became_of_a_callback_is_noted_when_the_disk_has_room_again(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.callbacks._AGAIN_S", 0.02)
    tries = []
    note = work.told

    def full(base, **told):
        tries.append(1)
        if len(tries) < 3:
            raise _full()
        note(base, **told)

    monkeypatch.setattr("modelworks.serving.jobs.callbacks.work.told", full)
    with Receiver() as server:

        async def main(station):
            station.desk.start()
            _, told = await station.submit(job_callback=server.url.encode())
            await station.until(told["id"], {"delivered"}, key="callback")
            assert len(server.came) == 1

        run(main, tmp_path, outside=("127.0.0.1",))


def test_the_end_is_told_signed_to_whoever_was_named(tmp_path):
    with Receiver() as server:

        async def main(station):
            _, told = await station.submit(job_callback=f"{server.url}/hook".encode())
            await station.until(told["id"], {"delivered"}, key="callback")
            _, _, headers, came = server.came[0]
            assert json.loads(came)["outputs"][0]["data"] == [2.0, 4.0, 6.0]
            assert (headers["job-id"], headers["job-state"]) == (told["id"], "done")
            stamp, signed = headers["job-signature"].removeprefix("t=").split(",sha256=")
            assert signed == signature(b"s" * 32, told["id"], stamp, came)
            assert signed != signature(b"t" * 32, told["id"], stamp, came)
            assert len(server.came) == 1

        run(main, tmp_path, outside=("127.0.0.1",), secret=b"s" * 32)


def test_who_does_not_take_it_is_told_again_until_the_callback_is_dead(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.callbacks._FIRST_S", 0.01)
    with Receiver(lambda h: h.say(500, b"")) as server:

        async def main(station):
            station.desk.start()
            _, told = await station.submit(job_callback=server.url.encode())
            dead = await station.until(told["id"], {"dead"}, key="callback")
            assert dead["state"] == "done"
            assert (dead["callback"]["tries"], dead["callback"]["error"]) == (2, "it answered 500")
            assert [headers["job-attempt"] for _, _, headers, _ in server.came] == ["1", "2"]
            assert (await station.ask(told["id"], "result"))[0] == 200
            listed = await station.ask(query=b"callback=dead")
            assert [job["id"] for job in listed[1]["jobs"]] == [told["id"]]

        run(main, tmp_path, outside=("127.0.0.1",), call_tries=2)


def test_the_end_of_a_cancelled_job_is_told_too(tmp_path):
    with Receiver() as server:

        async def main(station):
            await station.table.unload("double")
            _, told = await station.submit(job_callback=server.url.encode())
            await station.ask(told["id"], method=b"DELETE")
            station.desk.start()
            await station.until(told["id"], {"delivered"}, key="callback")
            _, _, headers, came = server.came[0]
            assert (headers["job-state"], json.loads(came)) == (
                "cancelled",
                {"error": "it was cancelled"},
            )

        run(main, tmp_path, outside=("127.0.0.1",))


def test_what_is_scraped_tells_how_things_stand(tmp_path):
    async def main(station):
        station.desk.start()
        _, told = await station.submit()
        await station.submit(b"{")
        await station.ended(told["id"])
        await station.desk._runner._look()
        found = {
            (family.shown, *point.labels.values()): point.value
            for family in station.desk.families()
            for group in family.groups
            for point in group
        }
        assert found["modelworks_jobs", "done"] == 1
        assert found["modelworks_job_submissions_total", "accepted"] == 1
        assert found["modelworks_job_submissions_total", "refused"] == 1
        assert found["modelworks_job_bytes",] > 500
        assert found["modelworks_job_oldest_seconds",] == 0

    run(main, tmp_path)


def test_too_much_that_waits_for_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.ledger.MOST", 2)

    async def main():
        ledger = Ledger(tmp_path / "jobs.sqlite")
        go = asyncio.Event()
        told = []
        loop = asyncio.get_running_loop()

        def hold(_base):
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)

        ledger.ask(hold, lambda *answer: told.append(answer))
        await until(lambda: not ledger._questions)
        for _ in range(2):
            ledger.ask(lambda _: 7, lambda *answer: told.append(answer))
        with pytest.raises(UnavailableError, match="its disk is slow"):
            ledger.ask(lambda _: 7, lambda *_: None)
        go.set()
        await ledger.close()
        assert told == [(None, None), (7, None), (7, None)]
        with pytest.raises(UnavailableError, match="stopping"):
            ledger.ask(lambda _: 7, lambda *_: None)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_two_servers_see_the_same_jobs(tmp_path):
    async def main(station):
        async with Station(tmp_path) as other:
            _, told = await station.submit()
            assert (await other.ask(told["id"]))[0] == 200
            await other.ended(told["id"])
            assert (await other.ask(told["id"], "result"))[0] == 200

    run(main, tmp_path)


def test_the_file_is_for_its_owner_alone(tmp_path):
    async def main(station):
        await station.submit()
        folder = station.options.folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "jobs.sqlite").stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(folder / "jobs.sqlite")) as base:
            assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert store.MOST_LISTED == 1000

    run(main, tmp_path)


def test_a_file_that_another_process_holds_is_told_once_for_all_that_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("modelworks.serving.jobs.ledger.BUSY_S", 0.05)

    async def main(station):
        await station.submit()
        path = station.options.folder / "jobs.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = await asyncio.gather(*(station.submit() for _ in range(50)))
            assert {status for status, _ in told} == {503}
            assert "another process holds it" in told[0][1]["error"]
            other.execute("ROLLBACK")
        assert (await station.submit())[0] == 202

    run(main, tmp_path)


def test_a_file_that_is_no_such_file_refuses_jobs_and_says_the_cure(tmp_path):
    async def main(station):
        status, told = await station.submit()
        assert status == 500
        assert "move it away" in told["error"]

    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "jobs.sqlite").write_bytes(b"no database at all, but long" * 500)
    run(main, tmp_path)
