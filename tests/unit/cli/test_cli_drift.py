"""Drift on files, and references of versions, from the command line."""

import numpy as np
import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.testing.candidates import candidate
from modelworks.testing.records import record


def _csv(path, seed, shift=0.0, rows=400):
    rng = np.random.default_rng(seed)
    age, income = rng.normal(40 + shift, 10, rows), rng.normal(size=rows)
    cities = np.array(["Rome", "Oslo"])[rng.integers(0, 2, rows)]
    truth = (age > 45).astype(int)
    said = (age + rng.normal(0, 5, rows) > 45).astype(int)
    lines = ["age,income,city,y,out.label"]
    lines += [
        f"{a:.4f},{b:.4f},{c},{t},{s}"
        for a, b, c, t, s in zip(age, income, cities, truth, said, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def reference(type_, tmp_path):
    """Of a table with labels."""
    train = _csv(tmp_path / "train.csv", 1)
    path = str(tmp_path / "ref.npz")
    done = type_(
        *("reference", "build", train, "-o", path, "--labels", "y"),
        *("--prediction", "out.label", "--json"),
    )
    assert done.code == Exit.OK, done.out
    assert done.json["features"] == ["age", "income", "city", "out.label"]
    assert done.json["loss"] == "error"
    return path


def test_what_moved_is_named_first_with_its_cost(type_, tmp_path, reference):
    current = _csv(tmp_path / "now.csv", 2, shift=8.0)
    page = tmp_path / "drift.html"
    done = type_("drift", "--reference", reference, "--current", current, "--html", str(page))
    assert done.code == Exit.OK
    assert "features drifted, first age, which costs" in done.out
    assert "unknown" not in done.out
    text = page.read_text()
    assert "<svg" in text
    assert "now.csv against ref.npz" in text
    told = type_("drift", "--reference", reference, "--current", current, "--json").json
    assert told["features"][0]["feature"] == "age"
    assert told["features"][0]["drifted"] is True
    assert told["features"][0]["impact"]["change"] > 0
    assert told["together"][0]["name"] == "*"


def test_check_ends_with_9_where_something_drifted(type_, tmp_path, reference):
    same = _csv(tmp_path / "same.csv", 3)
    moved = _csv(tmp_path / "moved.csv", 3, shift=20.0)
    asked = ("drift", "--reference", reference, "--check", "--current")
    assert type_(*asked, same).code == Exit.OK
    assert type_(*asked, moved).code == Exit.GATE
    assert type_("drift", "--reference", reference, "--current", moved).code == Exit.OK


def test_a_table_is_a_reference_too_and_its_cost_is_unknown(type_, tmp_path):
    train, now = _csv(tmp_path / "a.csv", 4), _csv(tmp_path / "b.csv", 5, shift=9.0)
    done = type_("drift", "--reference", train, "--current", now, "--alone")
    assert done.code == Exit.OK
    assert "unknown" in done.out
    assert "--labels" in done.err


def test_references_are_given_to_versions(type_, filled, reference):
    assert filled
    assert type_("reference", "list").err.startswith("none yet")
    done = type_("reference", "set", "fraud@champion", reference)
    assert done.code == Exit.OK
    assert done.out.startswith("fraud:1.1.0 has the reference sha256:")
    assert "fraud:1.1.0" in type_("reference", "list").out
    assert type_("reference", "list", "--json").json[0]["version"] == "1.1.0"
    assert type_("reference", "remove", "fraud:1.1.0").code == Exit.OK
    assert type_("reference", "remove", "fraud:1.1.0").code == Exit.NOT_FOUND
    assert type_("reference", "set", "fraud:9.9.9", reference).code == Exit.NOT_FOUND


def test_what_cannot_be_is_told(type_, tmp_path, reference):
    train, out = _csv(tmp_path / "t.csv", 6), str(tmp_path / "x.npz")
    build = ("reference", "build", train, "-o", out)
    for further, says in (
        (("--labels", "z"), "there is no column 'z'"),
        (("--kind", "age"), "not COL=KIND"),
        (("--score", "age"), "from 0 to 1"),
        (("--leave-out", "z"), "no column 'z'"),
        (("--kind", "city=number"), "no numbers"),
    ):
        done = type_(*build, *further)
        assert done.code == Exit.INVALID
        assert says in done.err
    asked = ("drift", "--reference", reference, "--current")
    assert "not from 0 to 1" in type_(*asked, train, "--alpha", "2").err
    assert type_(*asked, str(tmp_path / "gone.csv")).code == Exit.NOT_FOUND
    (tmp_path / "empty.csv").write_text("age\n")
    assert type_(*asked, str(tmp_path / "empty.csv")).code == Exit.INVALID
    unwritable = str(tmp_path / "no" / "ref.npz")
    assert "cannot be written" in type_("reference", "build", train, "-o", unwritable).err


def test_a_damaged_reference_is_told(type_, tmp_path, reference):
    train = _csv(tmp_path / "t.csv", 7)
    data = bytearray((tmp_path / "ref.npz").read_bytes())
    data[len(data) // 3] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(data)
    bad = str(tmp_path / "bad.npz")
    assert type_("drift", "--reference", bad, "--current", train).code == Exit.CORRUPT


def test_a_reference_is_made_of_a_file_or_of_records(type_, filled, tmp_path):
    assert filled
    file, out = _csv(tmp_path / "a.csv", 4), str(tmp_path / "ref.npz")
    for words in ((), (file, "--records", "fraud:1.0.0"), (file, "--since", "7d")):
        assert type_("reference", "build", *words, "-o", out).code == Exit.INVALID
    done = type_("reference", "build", "--records", "fraud:1.0.0", "--since", "7d", "-o", out)
    assert done.code == Exit.NOT_FOUND
    assert "modelworks records compact" in done.err


def _asked(home, work, rows=300, shift=10.0):
    """A version, and records of what it was asked."""
    rng = np.random.default_rng(5)
    with Factory(home) as factory:
        factory.publish(candidate(work, b"model", "fraud"))
        kept = []
        for number in range(rows):
            inputs = {
                "age": [float(rng.normal(40 + shift, 10))],
                "income": [float(rng.normal())],
                "city": [["Rome", "Oslo"][number % 2]],
            }
            one = record(number)
            values = {name: getattr(one, name) for name in one.__dataclass_fields__}
            changes = {"version": "1.0.0", "rows": 1, "inputs": inputs, "outputs": None}
            kept.append(type(one)(**{**values, **changes}))
        factory.records.store.write(kept)


def test_records_are_compared_with_the_versions_own_reference(type_, home, tmp_path, reference):
    _asked(home, tmp_path / "work")
    none = type_("drift", "--records", "fraud")
    assert none.code == Exit.NOT_FOUND
    assert "modelworks reference set fraud:1.0.0 FILE" in none.err
    type_("reference", "set", "fraud", reference)
    told = type_("drift", "--records", "fraud", "--alone", "--json").json
    assert told["rows"] == 300
    assert [one["feature"] for one in told["features"] if one["drifted"]] == ["age"]
    other = type_("drift", "--records", "fraud", "--reference", reference, "--check")
    assert other.code == Exit.GATE
    later = type_("drift", "--records", "fraud", "--since", "2200-01-01")
    assert (later.code, "no request of fraud:1.0.0" in later.err) == (Exit.NOT_FOUND, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--reference", "ref.npz"),
        ("--current", "a.csv"),
        ("--reference", "ref.npz", "--current", "a.csv", "--records", "fraud"),
    ],
)
def test_what_is_compared_is_said_once(type_, words):
    done = type_("drift", *words)
    assert done.code == Exit.INVALID
    assert "--current" in done.err
