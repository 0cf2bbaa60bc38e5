"""API keys: what a file of them may say, who is found by a key, changes of the file."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)
from modelworks.core.key_file import KeyFile, parse_file
from modelworks.core.keys import Key, Keys, Role, digest_of, new_key, parse

pytestmark = pytest.mark.unit
HASH = digest_of(b"k")
LINE = f"ana:predict:sha256:{HASH}"


def bearer(key: str) -> bytes:
    return b"Bearer " + key.encode()


# -- the file's text


def test_lines_comments_and_empty_lines():
    other = digest_of(b"other")
    keys = parse(f"# für alle\n\n{LINE}\r\n  # x\nci-1@x.y:admin:sha256:{other}")
    assert keys.entries == (
        Key("ana", Role.PREDICT, HASH),
        Key("ci-1@x.y", Role.ADMIN, other),
    )
    assert parse("# nobody\n").entries == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("ana", "line 1"),
        (f"# x\n\nana:{HASH}", "line 3"),
        ("ana:predict:sha256:" + "0" * 63, "64 digits"),
        ("ana:predict:sha256:" + "0" * 65, "64 digits"),
        ("ana:predict:sha256:" + "A" * 64, "64 digits"),
        (f"ana:predict:md5:{HASH}", "NAME:ROLE:sha256:HASH"),
        (f"ana:root:sha256:{HASH}", "predict, read, admin"),
        (f":predict:sha256:{HASH}", "name"),
        (f"a b:predict:sha256:{HASH}", "name"),
        (f'a"b:predict:sha256:{HASH}', "name"),
        (f"-a:predict:sha256:{HASH}", "name"),
        (f"{'a' * 65}:predict:sha256:{HASH}", "name"),
        (f"{LINE}:x", "NAME:ROLE:sha256:HASH"),
        (f"{LINE}\n{LINE}", "stands twice"),
        (f"{LINE}\nbob:admin:sha256:{HASH}", "another name"),
        ("\n".join(f"n{i}:read:sha256:{i:064x}" for i in range(10_001)), "10000"),
    ],
)
def test_what_is_no_file_of_keys(text, words):
    with pytest.raises(InvalidError, match=words):
        parse(text)


def test_a_key_that_stands_in_the_file_itself_is_not_repeated():
    secret = new_key()
    for text in (secret, f"ana:predict:{secret}", f"ana:predict:plain:{secret}", f"{secret}:x:y:z"):
        with pytest.raises(InvalidError) as caught:
            parse(text)
        assert secret not in caught.value.message


@given(st.text(max_size=200))
def test_any_text_is_keys_or_refused(text):
    try:
        found = parse(text)
    except InvalidError as error:
        assert error.field == "keys"
    else:
        assert text.strip()
        assert parse("#\n" + "\n".join(map(str, found.entries))).entries == found.entries


# -- who is found


@pytest.fixture
def keys():
    return Keys([Key("ana", Role.PREDICT, HASH), Key("ops", Role.ADMIN, digest_of(b"o" * 512))])


@pytest.mark.parametrize(
    "given",
    [b"Bearer k", b"bearer k", b"BEARER k", b"Bearer  k", b"Bearer k "],
)
def test_the_scheme_has_no_case(keys, given):
    assert keys.find(given).name == "ana"
    assert keys.find(given) is keys.known[given]


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"k",
        b"Bearer",
        b"Bearer ",
        b"Bearer K",
        b"Bearer kk",
        b"Bearer k, Bearer k",
        b"Bearer k k",
        b"Bearer\tk",
        b"Bearerk",
        b"Basic k",
        b"Bearer \xff",
        b"Bearer k\x00",
        "Bearer \N{FULLWIDTH LATIN SMALL LETTER K}".encode(),
        b"Bearer " + b"o" * 513,
        b"Bearer " + HASH.encode(),
        b"Bearer " + b"a" * 30_000,
    ],
)
def test_nobody_is_found(keys, given):
    assert keys.find(given) is None
    assert not keys.known
    with pytest.raises(UnauthenticatedError):
        keys.require(given, Role.PREDICT)


def test_what_is_remembered_is_bounded(keys):
    for spaces in range(3000):
        assert keys.find(b"Bearer " + b" " * spaces + b"k")
    assert len(keys.known) <= 1024


def test_the_longest_key(keys):
    assert keys.find(b"Bearer " + b"o" * 512).name == "ops"


def test_roles_include_those_before_them():
    covered = {role: [other for other in Role if role.covers(other)] for role in Role}
    assert covered == {
        Role.PREDICT: [Role.PREDICT],
        Role.READ: [Role.PREDICT, Role.READ],
        Role.ADMIN: [Role.PREDICT, Role.READ, Role.ADMIN],
    }


def test_a_role_that_does_not_cover_it(keys):
    assert keys.require(b"Bearer k", Role.PREDICT).name == "ana"
    with pytest.raises(ForbiddenError, match="'ana' has the role predict, and this takes admin"):
        keys.require(b"Bearer k", Role.ADMIN)


# -- changes


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "new" / "keys")


def test_add_and_revoke(file, tmp_path):
    path = tmp_path / "new" / "keys"
    ana, ops = file.add("ana", Role.PREDICT), file.add("ops", Role.ADMIN)
    assert len({ana, ops}) == 2
    assert ana not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.keys().find(bearer(ana)).name == "ana"
    assert file.keys().find(bearer(ops)).role is Role.ADMIN
    with pytest.raises(ConflictError):
        file.add("ana", Role.READ)
    assert file.revoke("ana").name == "ana"
    assert file.keys().find(bearer(ana)) is None
    with pytest.raises(NotFoundError, match="no key of the name ana"):
        file.revoke("ana")
    file.revoke("ops")
    assert file.keys().entries == ()  # a file that lets nobody in, not an empty one
    assert list(path.parent.iterdir()) == [path]


def test_comments_rights_and_links_stay(tmp_path):
    real = tmp_path / "real"
    real.write_text(f"# ours\n{LINE}\n\n# end")
    real.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(real)
    KeyFile(link).add("bob", Role.READ)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    lines = real.read_text().splitlines()
    assert lines[:4] == ["# ours", LINE, "", "# end"]
    assert lines[4].startswith("bob:read:sha256:")
    KeyFile(link).revoke("ana")
    assert real.read_text().splitlines()[:3] == ["# ours", "", "# end"]


def test_many_at_once_lose_nothing(file):
    names = [f"n{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(names, pool.map(lambda n: file.add(n, Role.PREDICT), names), strict=True))
    keys = file.keys()
    assert {keys.find(bearer(key)).name for key in made.values()} == set(names)


def test_files_that_cannot_be(tmp_path):
    with pytest.raises(NotFoundError, match="modelworks keys add"):
        parse_file(tmp_path / "none")
    for bad in (b"\xff\xfe", b"x" * (3 << 20), b""):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(InvalidError, match="bad"):
            parse_file(tmp_path / "bad")
    with pytest.raises(InvalidError):
        parse_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidError):  # and it does not wait for a writer
        parse_file(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidError):
        KeyFile(tmp_path / "file" / "keys").add("a", Role.READ)
