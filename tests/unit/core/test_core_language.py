"""The language: references, versions, digests, the codec."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core import codec, digest, ids
from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.reference import parse_ref
from modelworks.core.semver import Bump, Semver
from modelworks.core.served import Batching, ServedList, ServedModel, read_served, write_served
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec

pytestmark = pytest.mark.unit


def spec(name: str = "x", datatype: Datatype = Datatype.FP32, shape=(None, 3)) -> TensorSpec:
    return TensorSpec(name, datatype, shape)


@pytest.mark.parametrize(
    ("text", "name", "alias", "version"),
    [
        ("fraud", "fraud", None, None),
        ("fraud@champion", "fraud", "champion", None),
        ("fraud:1.4.0", "fraud", None, Semver(1, 4, 0)),
        ("a", "a", None, None),
        ("iris.v2-small_x", "iris.v2-small_x", None, None),
    ],
)
def test_references_are_read_and_printed_back(text, name, alias, version):
    ref = parse_ref(text)
    assert (ref.name, ref.alias, ref.version) == (name, alias, version)
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "Fraud", "../x", "a/b", "a b", "-a", "a-", "a@", "a@B", "a@1", "a@b@c", "a\n"),
        *("a:1", "a:1.2", "a:01.2.3", "a:1.2.3.4", "a:1.2.-3", "x" * 129),
    ],
)
def test_references_of_any_other_form_are_refused_with_the_field(text):
    with pytest.raises(InvalidError) as caught:
        parse_ref(text)
    assert caught.value.field in {"name", "alias", "version"}


def test_versions_order_as_numbers_and_bump():
    assert Semver.parse("1.10.0") > Semver.parse("1.9.9")
    assert [str(Semver(1, 2, 3).bump(part)) for part in Bump] == ["2.0.0", "1.3.0", "1.2.4"]


@pytest.mark.parametrize("part", list(Bump))
def test_a_bump_never_makes_a_version_that_cannot_be_read_again(part):
    most = 999_999_999
    last = Semver.parse(f"{most}.{most}.{most}")
    with pytest.raises(InvalidError) as caught:
        last.bump(part)
    assert caught.value.field == "version"


def test_a_name_of_any_length_is_refused_in_a_short_line():
    for read in (parse_ref, Semver.parse):
        with pytest.raises(InvalidError) as caught:
            read("A" * 100_000)
        assert len(caught.value.message) < 300


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_a_plain_error(text):
    try:
        assert str(Semver.parse(text)) == text
    except InvalidError as error:
        assert error.field == "version"


def test_uuid7_is_version_7_and_sorts_by_birth():
    first = ids.uuid7()
    while (second := ids.uuid7())[:13] == first[:13]:
        pass
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first
    )
    assert first < second


def test_times_are_utc_unless_an_offset_says_otherwise():
    noon = ids.parse_time("2026-10-03T12:00")
    assert ids.iso(noon) == "2026-10-03T12:00:00.000000Z"
    assert ids.parse_time("2026-10-03T14:00+02:00") == noon
    with pytest.raises(InvalidError):
        ids.parse_time("yesterday")


def test_digest_of_a_file_is_what_sha256sum_prints(tmp_path: Path):
    file = tmp_path / "a.bin"
    file.write_bytes(os.urandom(100_000))
    printed = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert digest.of_file(file) == "sha256:" + printed.split()[0]


def test_tree_digest_sees_names_and_bytes_and_not_the_order(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_text("1")
    (tmp_path / "a").write_text("2")
    entries = digest.tree(tmp_path)
    assert [name for name, _ in entries] == ["a", "b/x"]
    assert digest.of_entries(entries) == digest.of_entries(reversed(entries))
    (tmp_path / "a").rename(tmp_path / "c")
    assert digest.of_entries(digest.tree(tmp_path)) != digest.of_entries(entries)


def test_a_tree_with_a_link_is_refused(tmp_path: Path):
    (tmp_path / "l").symlink_to("/etc/passwd")
    with pytest.raises(InvalidError, match="links"):
        digest.tree(tmp_path)


def test_signature_batches_only_where_every_first_axis_is_dynamic():
    assert Signature((spec(),), (spec("y"),)).batch_axis
    assert not Signature((spec(shape=(1, 3)),), (spec("y"),)).batch_axis
    assert not Signature((spec(),), (spec("y", shape=()),)).batch_axis
    assert not Signature((), ()).batch_axis


def test_signature_accepts_an_older_caller_only_when_nothing_was_taken_away():
    old = Signature((spec(),), (spec("y"),), features=("a", "b", "c"))
    assert Signature((spec(),), (spec("y"), spec("z")), features=("a", "b", "c")).accepts(old)
    assert not Signature((spec(),), (spec("z"),), features=("a", "b", "c")).accepts(old)
    assert not Signature((spec(shape=(None, 4)),), (spec("y"),), features=("a", "b", "c")).accepts(
        old
    )
    assert not Signature((spec(),), (spec("y"),), features=("b", "a", "c")).accepts(old)


shapes = st.lists(st.none() | st.integers(0, 2**31), max_size=4).map(tuple)
specs = st.builds(
    TensorSpec,
    st.text(min_size=1),
    st.sampled_from(Datatype),
    shapes,
    st.sampled_from(Role),
    st.lists(st.text(), max_size=2).map(tuple),
    st.booleans(),
)
scalars = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False)
signatures = st.builds(
    Signature,
    st.lists(specs, max_size=2).map(tuple),
    st.lists(specs, max_size=2).map(tuple),
    st.sampled_from(Layout),
    st.lists(st.text(), max_size=3).map(tuple),
    st.lists(scalars, max_size=3).map(tuple),
)


@given(signatures)
def test_the_codec_gives_back_what_it_was_given_with_every_type(signature):
    back = codec.decode(Signature, codec.encode(signature))
    assert back == signature
    assert [type(c) for c in back.classes] == [type(c) for c in signature.classes]


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    version: Semver
    colour: Colour = Colour.RED
    weight: float = 1.0
    parts: tuple["Thing", ...] = ()
    words: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"name": "a"}, "version"),
        ({"name": "a", "version": "1.0.0", "colours": 1}, "colours"),
        ({"name": 1, "version": "1.0.0"}, "name"),
        ({"name": "a", "version": "1.0.0", "colour": "blue"}, "colour"),
        ({"name": "a", "version": "1.0.0", "weight": True}, "weight"),
        ({"name": "a", "version": "1.0.0", "words": {"x": "y"}}, "words.x"),
        ({"name": "a", "version": "1.0.0", "parts": [{"name": "b"}]}, "parts[0].version"),
        ({"name": "a", "version": "1.0.0", "parts": {}}, "parts"),
    ],
)
def test_the_codec_names_the_place_of_every_mistake(data, where):
    with pytest.raises(InvalidError) as caught:
        codec.decode(Thing, data)
    assert caught.value.field == where


def test_a_served_list_survives_the_disk_and_a_half_written_one_is_never_seen(tmp_path: Path):
    path = tmp_path / "run" / "served.json"
    served = ServedList(3, (ServedModel("m", "1.0.0", "/x", "sha256:0", batching=Batching(8, 9)),))
    write_served(path, served)
    assert read_served(path) == served
    assert [p.name for p in path.parent.iterdir()] == ["served.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"generation": 1}', '{"generation": 1, "models": [], "x": 1}']
)
def test_a_broken_served_list_is_a_plain_error(tmp_path: Path, text: str):
    path = tmp_path / "served.json"
    path.write_text(text)
    with pytest.raises(ModelworksError):
        read_served(path)


def test_a_home_that_cannot_be_made_says_how_to_choose_another(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="MODELWORKS_HOME"):
        Home(tmp_path / "file" / "home").create()
    made = Home(tmp_path / "home").create()
    assert made.create() == made
    assert made.run.stat().st_mode & 0o777 == 0o700
