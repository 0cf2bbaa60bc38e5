"""`modelworks replay`: against a server that is there, and everything that is refused."""

import re

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.ids import now_ns
from modelworks.core.records import Record
from modelworks.core.semver import Semver
from modelworks.core.series import Series
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.testing.candidates import candidate
from replay_server import answering

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.INT64, (None,)),),
    (TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),),
)
COUNT = 300


@pytest.fixture
def versions(home, tmp_path):
    """Two versions, the first one the champion."""
    with Factory(home) as factory:
        for text in ("1.0.0", "2.0.0"):
            more = {"version": Semver.parse(text), "signature": SIGNATURE}
            factory.publish(candidate(tmp_path / text, text.encode(), **more))
        factory.set_alias("fraud", "champion", "1.0.0")
        yield factory


@pytest.fixture
def recorded(versions):
    """What the champion answered within the last minutes."""
    began = now_ns() - 600 * 10**9
    versions.records.store.write([record(began, number) for number in range(COUNT)])
    return versions


def record(began: int, number: int, **more: object) -> Record:
    usual = {
        "inputs": {"x": [number]},
        "outputs": {"label": [number % 2]},
        "total_ns": 1_000_000,
    }
    at_ns = began + number * 1_000_000
    return Record(f"r{number}", at_ns, "fraud", "1.0.0", **(usual | more))


def test_answers_are_held_against_those_of_the_champion(recorded, type_, tmp_path):
    page = tmp_path / "replay.html"
    common = ("replay", "fraud:2.0.0", "--speed", "max", "--in-flight", "4", "--slice", "x=3")
    with answering(lambda n: (200, 1 - n % 2 if n % 10 == 3 else n % 2)) as (url, came):
        done = type_(*common, "--url", url, "--allow", "1%", "--html", page)
        assert done.code == Exit.GATE
        assert sorted(came) == list(range(COUNT))
        found = type_(*common, "--url", url, "--limit", "100", "--json").json
    assert "90.00% of 300 answers agree with those of 1.0.0" in done.out
    assert re.search(r"(?i)recorded answer +candidate says +times\n1 +0 +30", done.out)
    assert "r3 " in done.out
    assert "not measured alike" in done.err
    assert "90.00%" in page.read_text()
    assert found["left"] == {"not drawn: more came than --limit": 200}
    assert (found["sent"], found["verdict"]) == (100, "hold")  # no gate was asked for
    kept = recorded.show("fraud:2.0.0").evidence
    assert not [one for one in kept if one.kind == "replay"]  # who answers there is not known


def test_what_was_counted_and_not_recorded_is_said(recorded, type_):
    minute = now_ns() // 60_000_000_000 * 60.0 - 300
    labels = {"model": "fraud", "version": "1.0.0"}
    other = {"model": "fraud", "version": "2.0.0"}
    counts = [Series("requests", one, (minute,), (1000.0,)) for one in (labels, other)]
    recorded.watching.series.append(counts, 60)
    with answering(lambda n: (200, n % 2)) as (url, _):
        words = ("--speed", "max", "--in-flight", "4", "--url", url)
        done = type_("replay", "fraud:2.0.0", *words)
        assert type_("replay", "fraud:2.0.0", *words, "--json").json["unrecorded"] == 700
    assert "about 700 more were counted and not recorded" in done.out


def test_what_is_proved_to_agree_passes(recorded, type_):
    with answering(lambda n: (200, n % 2)) as (url, _):
        words = ("--speed", "max", "--in-flight", "4", "--allow", "5%", "--url", url)
        assert type_("replay", "fraud:2.0.0", *words).code == Exit.OK


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fraud",), Exit.INVALID, "name the version: fraud:2.0.0"),
        (("fraud:9.0.0",), Exit.NOT_FOUND, "no version 9.0.0"),
        (("fraud:2.0.0", "--speed", "0"), Exit.INVALID, "--speed"),
        (("fraud:2.0.0", "--speed", "quick"), Exit.INVALID, "--speed"),
        (("fraud:2.0.0", "--allow", "some"), Exit.INVALID, "--allow"),
        (("fraud:2.0.0", "--allow", "200%"), Exit.INVALID, "allow"),
        (("fraud:2.0.0", "--slice", "x"), Exit.INVALID, "FIELD=VALUE"),
        (("fraud:2.0.0", "--since", "1h", "--until", "2h"), Exit.INVALID, "ends before it begins"),
        (("fraud:2.0.0", "--since", "soon"), Exit.INVALID, "--since"),
        (("fraud:2.0.0", "--limit", "0"), Exit.INVALID, "limit"),
        (("fraud:2.0.0", "--of", "9.0.0"), Exit.NOT_FOUND, "9.0.0"),
        (("fraud:2.0.0",), Exit.NOT_FOUND, "serve it with --record"),
        (("fraud:2.0.0", "--html", "/nowhere/at/all.html"), Exit.INVALID, "cannot be written"),
    ],
)
def test_what_is_refused(versions, type_, words, code, said):
    done = type_("replay", *words)
    assert done.code == code
    assert said in done.err


def test_records_without_a_value_are_no_traffic(versions, type_):
    began = now_ns() - 60 * 10**9
    hashed = [record(began, number, inputs={"x": ["f" * 64]}) for number in range(3)]
    versions.records.store.write([*hashed, record(began, 5, inputs=None)])
    done = type_("replay", "fraud:2.0.0")
    assert done.code == Exit.INVALID
    assert "none of 4 recorded requests of 'fraud' can be played" in done.err
    assert "the field 'x' is hashed, masked or a token: 3" in done.err


def test_nobody_listens_there(recorded, type_):
    done = type_("replay", "fraud:2.0.0", "--url", "http://127.0.0.1:9")
    assert done.code == Exit.UNAVAILABLE
