"""Records and feedback typed: lists, exports, erasures, imports, and what goes wrong."""

import json
from pathlib import Path

import click
import numpy as np
import pytest

from modelworks.cli.commands import records as commands
from modelworks.cli.exits import Exit
from modelworks.cli.windows import moment
from modelworks.control.records.rooms import rooms_of
from modelworks.core.errors import InvalidError
from modelworks.core.home import Stores
from modelworks.core.ids import iso, now_ns, parse_time
from modelworks.monitor.feedback.inbox import Inbox
from modelworks.protocol.records import SegmentWriter
from modelworks.testing.records import record

pytestmark = pytest.mark.unit


@pytest.fixture
def written(home):
    """A hundred records of which ten are of Ana, in a closed segment."""
    writer = SegmentWriter(rooms_of(home, Stores()).segments)
    some = [record(n, subject="ana" if n % 10 == 0 else f"other-{n}") for n in range(100)]
    writer.write(some)
    writer.close()
    return home


def told(home):
    inbox = Inbox(rooms_of(home, Stores()).inbox)
    return inbox.read(inbox.waiting(100))


def test_from_a_segment_to_an_erasure(type_, written, tmp_path):
    assert type_("records", "list").err.startswith("no records in the store yet")
    assert type_("records", "compact").out == "100 records of 1 segment, 0 of feedback\n"
    [model] = type_("records", "list", "--json").json
    assert (model["model"], model["records"], model["feedback"]) == ("fraud", 100, 0)
    assert "fraud" in type_("records", "list").out
    assert "in.age" in type_("records", "show", "r000020").out
    [line] = type_("records", "show", "r000020", "--model", "fraud", "--json").json
    assert line["subject"] == "ana"
    out = str(tmp_path / "out")
    made = type_("records", "export", "--format", "jsonl", "-o", out, "--json").json
    assert made["lines"] == 100
    done = type_("records", "erase", "ana", "--yes", "--json")
    assert done.json["records"] == 10
    assert done.json["exported"] == 10
    assert type_("records", "show", "r000020").code == Exit.NOT_FOUND
    text = type_("records", "erase", "other-7", "--yes").out
    assert "records             1\n" in text
    acts = [one["act"] for one in type_("audit", "records", "--json").json]
    assert sorted(acts) == ["erase", "erase", "export"]
    assert '"subject": "ana"' not in Path(made["path"]).read_text()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_export_has_the_lines_and_columns_that_were_asked_for(type_, written, tmp_path, kind):
    type_("records", "compact")
    words = ("records", "export", "--format", kind, "-o", str(tmp_path / "out"), "--json")
    whole = type_(*words, "--column", "in.age").json
    [line] = type_("records", "show", "r000050", "--json").json
    moment_of = iso(line["at_ns"])
    first = type_(*words, "--until", moment_of).json
    last = type_(*words, "--since", moment_of, "--model", "fraud", "--version", "1.0.0").json
    assert [one["lines"] for one in (whole, first, last)] == [100, 50, 50]
    path = Path(whole["path"])
    if kind == "parquet":
        from pyarrow import parquet

        names = parquet.read_table(path).column_names
    else:
        head = path.read_text().splitlines()[0]
        names = head.split(",") if kind == "csv" else list(json.loads(head))
    assert "in.age" in names
    assert not {"in.name", "out.score"} & set(names)
    said = type_("records", "export", "--format", kind, "-o", str(tmp_path / "o2")).out
    assert said.endswith(f".{kind}: 100 lines\n")


def test_what_is_shown_is_what_is_known(type_, written):
    type_("records", "compact")
    text = type_("records", "show", "r000020").out
    assert text.startswith("fraud:1.0.0 20")
    assert " item 0\n" in text
    assert "  subject         ana\n" in text
    assert "variant" not in text  # what is not known is not listed
    assert type_("records", "show", "r000020", "--model", "other").code == Exit.NOT_FOUND


def test_damaged_segments_are_told_of(type_, written):
    [segment] = rooms_of(written, Stores()).segments.iterdir()
    with segment.open("ab") as file:
        file.write(b"torn")
    done = type_("records", "compact")
    assert done.out == "100 records of 1 segment, 0 of feedback\n"
    assert "4 bytes of segments were damaged, and are lost" in done.err
    again = type_("records", "compact", "--json").json
    assert (again["records"], again["segments"], again["damaged"]) == (0, 0, 0)


def test_an_erasure_that_is_not_confirmed_erases_nothing(type_, written, monkeypatch):
    type_("records", "compact")
    monkeypatch.setattr(commands, "interactive", lambda: True)
    monkeypatch.setattr(click, "confirm", refused := Refusing())
    assert type_("records", "erase", "ana").code != Exit.OK
    assert refused.asked == "Erase every record of ana for good?"
    [model] = type_("records", "list", "--json").json
    assert model["records"] == 100


class Refusing:
    """Somebody who says no."""

    def __call__(self, text, *, abort, err):
        self.asked = text
        assert abort
        assert err  # standard output is for results
        raise click.Abort


def test_sql_over_records(type_, written):
    type_("records", "compact")
    counted = 'SELECT subject, count(*) AS n, avg("in.age") AS age FROM records GROUP BY ALL'
    found = type_("records", "query", f"{counted} ORDER BY n DESC LIMIT 1", "--json").json
    assert found == [{"subject": "ana", "n": 10, "age": 45.0}]
    assert "SUBJECT" in type_("records", "query", counted, "--model", "fraud").out
    odd = "SELECT DATE '2026-01-01' AS day, 1.5::DECIMAL(4, 1) AS n, 'nan'::DOUBLE AS gap, [1] AS l"
    found = type_("records", "query", f"{odd} FROM records LIMIT 1", "--json").json
    assert found == [{"day": "2026-01-01", "n": "1.5", "gap": None, "l": [1]}]
    assert len(type_("records", "query", "FROM records", "--most", "7", "--json").json) == 7
    assert type_("records", "query", "FROM records", "--since", "2027-02-01").code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    "sql",
    [
        "SELEKT 1",
        "",
        "SELECT 1; SELECT 2",
        "DROP VIEW records",
        "SET enable_external_access=true",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "COPY records TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SELECT * FROM nowhere",
    ],
)
def test_sql_reaches_records_alone(type_, written, sql):
    type_("records", "compact")
    done = type_("records", "query", sql, "--json")
    assert (done.code, done.json["field"]) == (Exit.INVALID, "sql"), done.out


def test_an_erasure_is_asked_for_in_so_many_words(type_, written):
    done = type_("records", "erase", "ana", "--json")
    assert (done.code, done.json["field"]) == (Exit.INVALID, "--yes")


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("records", "show", "nobody"), Exit.NOT_FOUND, "id"),
        (("records", "erase", " ", "--yes"), Exit.INVALID, "subject"),
        (("records", "export", "--model", "nobody", "-o", "OUT"), Exit.NOT_FOUND, "model"),
        (("records", "export", "--since", "soon", "-o", "OUT"), Exit.INVALID, "--since"),
        (
            ("feedback", "import", "OUT/x.csv", "--model", "m", "--truth", "t"),
            Exit.NOT_FOUND,
            "FILE",
        ),
        (("feedback", "import", "OUT/x.txt", "--model", "m", "--truth", "t"), Exit.INVALID, "FILE"),
        (("feedback", "import", "OUT/x.csv", "--model", "m"), Exit.INVALID, "--truth"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_mistakes_have_their_exit_codes(type_, home, tmp_path, words, code, field):
    done = type_(*(word.replace("OUT", str(tmp_path)) for word in words), "--json")
    assert (done.code, done.json["field"]) == (code, field), done.out


def test_elsewhere_is_refused(type_, monkeypatch):
    monkeypatch.setenv("MODELWORKS_URL", "http://127.0.0.1:1")
    done = type_("records", "list", "--json")
    assert (done.code, done.json["kind"]) == (Exit.INVALID, "unsupported")


CSV = "prediction,is_fraud,paid,known,n\n007,1,2.5,2026-10-03,0\n8,,,,0\nx,true,,1791036000,2\n"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_of_feedback(type_, home, tmp_path, kind):
    path = tmp_path / f"labels.{kind}"
    lines = [
        {"prediction": "007", "is_fraud": 1, "paid": 2.5, "known": "2026-10-03", "n": 0},
        {"prediction": "8", "is_fraud": None, "paid": None, "known": None, "n": 0},
        {"prediction": "x", "is_fraud": True, "paid": None, "known": "2026-10-03T14:00", "n": 2},
    ]
    if kind == "csv":
        path.write_text(CSV)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, lines)))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        for line in lines:
            line["is_fraud"] = None if line["is_fraud"] is None else int(line["is_fraud"])
        parquet.write_table(pa.Table.from_pylist(lines), path)
    words = ("--truth", "is_fraud", "--outcome", "paid", "--at", "known", "--item", "n")
    done = type_("feedback", "import", str(path), "--model", "fraud", *words, "--json")
    assert done.json == {"accepted": 2}, done.err
    first, second = told(home)
    assert (first.prediction, first.truth, first.outcomes) == ("007", 1, {"paid": 2.5})
    assert first.at_ns == parse_time("2026-10-03")
    assert (second.prediction, second.truth, second.item) == ("x", True, 2)
    assert second.at_ns == parse_time("2026-10-03T14:00")
    again = type_("feedback", "import", str(path), "--model", "fraud", *words, "--json")
    assert again.json == {"accepted": 2}
    assert len({one.id for one in told(home)}) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prediction,other\n1,1\n", "row 1: there is no column 'truth'"),
        ("prediction,truth\n1,1,1\n", "row 0: its cells"),
        ("prediction,truth\n,1\n", "give one of prediction and key"),
        ("prediction,truth\n\x00\ud800", ""),
    ],
    ids=["no column", "cells", "no id", "no text"],
)
def test_files_that_cannot_be(type_, home, tmp_path, text, says):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(errors="surrogatepass"))
    done = type_("feedback", "import", str(path), "--model", "m", "--truth", "truth")
    assert done.code == Exit.INVALID
    assert says in done.err
    assert told(home) == []


def test_a_list_of_labels_in_a_cell(type_, home, tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text('prediction,truth\na,"[1, 0, 1]"\nb,[urgent]\n')
    done = type_("feedback", "import", str(path), "--model", "m", "--truth", "truth")
    assert done.code == Exit.OK, done.err
    assert [one.truth for one in told(home)] == [[1, 0, 1], "[urgent]"]


def test_moments():
    now = now_ns()
    assert moment("2h", now, "x") == now - 7200 * 10**9
    assert moment("2026-10-03T14:00", now, "x") == parse_time("2026-10-03T14:00")
    for wrong in ("2y", "-1h", "", "now", "9" * 30 + "d"):
        with pytest.raises(InvalidError):
            moment(wrong, now, "x")


def test_whole_numbers_with_gaps_in_parquet(tmp_path):
    from modelworks.cli.feedback_files import Columns, read

    path = tmp_path / "x.npz"
    np.savez(path, a=[1])
    with pytest.raises(InvalidError, match="is wanted"):
        read(path, Columns("m", "a", "", "", "a", (), ""))
