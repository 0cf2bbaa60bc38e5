"""A replay played to a real socket, and what is said of its answers."""

import json

import pytest

from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.pairing import Comparing, Truth
from modelworks.control.replaying.report import Report, arms, reported
from modelworks.control.replaying.service import path_of
from modelworks.control.replaying.traffic import Recorded, Traffic
from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.rollouts import Outcome
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.measure import played as playing
from modelworks.measure.histogram import Histogram
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.played import Got, Play, Played, play
from modelworks.measure.tally import Failure
from modelworks.measure.target import parse_target
from replay_server import answering

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.INT64, (None,)),),
    (TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),),
)


def recorded(number: int, status: int = 200, truth: object = None) -> Recorded:
    entry = {"name": "x", "datatype": "INT64", "shape": [1], "data": [number]}
    body = json.dumps({"inputs": [entry]}).encode()
    outputs = {"label": [number % 2]} if status == 200 else {}
    inside = frozenset({0}) if number % 4 == 0 else frozenset()
    id_, at_ns = f"r{number}", number * 1_000_000
    return Recorded(
        *(id_, at_ns, status, 2_000_000, 1, body),
        outputs=outputs,
        truth=(truth,),
        slices=(inside,),
    )


def played_to(url: str, requests: list[Recorded], **how: object) -> Played:
    target = parse_target(url)
    bytes_ = [request_bytes(target, Body(one.body)) for one in requests]
    wanted = {"in_flight": 4} | how
    return play(Play(target, bytes_, [one.at_ns for one in requests], **wanted))


def judged(requests: list[Recorded], found: Played, **asked: object) -> Report:
    wanted = Asked("m", "2", "1", 0, 10**12, slices=("k=4",), **asked)
    compared = Comparing(SIGNATURE, SIGNATURE, wanted.slices).compare(requests, found)
    return reported(
        wanted,
        Traffic(tuple(requests), len(requests), len(requests), {}),
        found,
        compared,
        Histogram(),
    )


@pytest.mark.parametrize("speed", [0.0, 1.0, 5.0])
def test_what_differs_is_found_and_requests_keep_their_order(speed):
    requests = [recorded(number, truth=number % 2) for number in range(200)]
    with answering(lambda n: (200, 1 - n % 2 if n % 10 == 3 else n % 2)) as (url, came):
        found = played_to(url, requests, speed=speed, in_flight=1)
    assert list(came) == list(range(200))
    assert (found.sent, len(found.answers), found.failures) == (200, 200, {})
    report = judged(requests, found, allow=0.02)
    assert report.agreement.flips == (("1", "0", 20),)
    assert {one.id for one in report.agreement.worst} == {f"r{10 * n + 3}" for n in range(20)}
    assert report.compared.truth == {"*": Truth(200, 200, 180), "k=4": Truth(50, 50, 50)}
    assert [one.slice for one in report.agreement.findings] == ["*", "k=4"]
    assert report.verdict is Outcome.ROLL_BACK
    assert "more than 2 % differ" in report.sentence
    assert report.truth is not None
    assert report.truth.outcome is Outcome.ROLL_BACK


def test_the_same_answers_agree_and_a_few_prove_nothing():
    requests = [recorded(number) for number in range(400)]
    with answering(lambda n: (200, n % 2)) as (url, _):
        found = played_to(url, requests, speed=0.0)
    report = judged(requests, found, allow=0.2)
    assert (report.verdict, report.agreement.agreement) == (Outcome.PROMOTE, 1.0)
    assert report.evidence().verdict is Verdict.PASSED
    few = judged(requests[:5], found, allow=0.2)
    assert few.verdict is Outcome.HOLD
    assert few.evidence().verdict is Verdict.SKIPPED
    assert judged(requests, found).verdict is Outcome.HOLD  # nothing was asked of it


def test_errors_of_both_are_counted_and_refusals_of_neither():
    statuses = {0: 503, 1: 500, 2: 400}
    requests = [recorded(n, {7: 400, 8: 503}.get(n, 200)) for n in range(200)]
    with answering(lambda n: (statuses.get(n % 10, 200), n % 2)) as (url, _):
        report = judged(requests, played_to(url, requests, speed=0.0))
    assert (report.compared.recorded.count, report.compared.recorded.total) == (199, 1)
    assert (report.compared.played.count, report.compared.played.total) == (180, 40)
    assert report.agreement.missing == 40
    assert report.verdict is Outcome.ROLL_BACK
    assert "fails" in report.sentence


def test_a_server_that_goes_away_ends_it(monkeypatch):
    monkeypatch.setattr(playing, "_GONE_NS", 200_000_000)
    requests = [recorded(number) for number in range(50)]
    with answering(lambda n: (200, n % 2), most=20) as (url, _):
        found = played_to(url, requests, speed=0.0, in_flight=1)
    assert found.gone
    assert len(found.answers) == 20
    report = judged(requests, found, allow=0.5)
    assert report.verdict is not Outcome.PROMOTE
    assert report.sentence.startswith("the candidate's server went away")


def test_what_was_under_way_when_somebody_ended_it_counts_nowhere():
    nothing = Histogram()
    requests = [recorded(number) for number in range(3)]
    body = json.dumps({"outputs": [{"name": "label", "shape": [1], "data": [0]}]}).encode()
    answers, lost = {0: Got(200, -1, body)}, {1: Failure.UNFINISHED}
    for ended, count in ((True, 1), (False, 2)):
        found = Played(answers, lost, 2, 1.0, nothing, nothing, nothing, interrupted=ended)
        assert judged(requests, found).compared.played.count == count
    timeout = Played(answers, {1: Failure.TIMEOUT}, 2, 1.0, nothing, nothing, nothing)
    assert judged(requests, timeout).compared.played.total == 1


def test_a_replay_that_is_interrupted_says_what_was_played():
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    requests = [recorded(number) for number in range(1000)]
    with answering(lambda n: (200, n % 2)) as (url, _):
        target = parse_target(url)
        bytes_ = [request_bytes(target, Body(one.body)) for one in requests]
        found = play(Play(target, bytes_, [one.at_ns for one in requests], in_flight=2), stop)
    assert found.interrupted
    assert 0 < found.sent < 1000
    report = judged(requests, found)
    assert report.compared.played.count == len(found.answers)
    assert report.agreement.agreement == 1.0


def test_evidence_has_no_value_of_an_answer_but_counts_and_ids():
    requests = [recorded(number, truth=number % 2) for number in range(20)]
    with answering(lambda n: (200, 7)) as (url, _):
        report = judged(requests, played_to(url, requests, speed=0.0))
    detail = report.evidence("fraud-2").detail
    assert detail["agreement"]["worst"] == [f"r{n}" for n in range(20)]
    assert detail["rollout"] == "fraud-2"
    assert json.loads(json.dumps(detail))["counts"]["played"]["count"] == 20
    stable, candidate = arms(report.compared, ("k=4",), ("1", "2"))
    assert "disagreement" not in stable.metrics
    assert candidate.metrics["disagreement"].total == 20
    assert candidate.slices["k=4"]["wrong_rate"].total == 5


def test_where_a_server_answers():
    asked = Asked("a b", "2.0.0", "1.0.0", 0, 1)
    assert path_of(asked) == "/v2/models/a%20b/versions/2.0.0/infer"
    assert path_of(asked, "/base/") == "/base/v2/models/a%20b/versions/2.0.0/infer"
    assert path_of(asked, "/v2/models/other/versions/1/") == "/v2/models/other/versions/1/infer"
    assert path_of(asked, "/v2/models/other/infer") == "/v2/models/other/infer"


@pytest.mark.parametrize("wrong", [{"speed": -1.0}, {"in_flight": 0}, {"timeout_s": -1.0}])
def test_what_cannot_be_played(wrong):
    with pytest.raises(InvalidError):
        Play(parse_target("http://127.0.0.1:1"), [b"x"], [0], **wrong)
    with pytest.raises(InvalidError):
        Play(parse_target("http://127.0.0.1:1"), [], [])
