"""What every store of artifacts promises: a folder, S3, Google Cloud Storage and Azure."""

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest

from modelworks.blobs import store as store_module
from modelworks.blobs.folder import check_folder
from modelworks.blobs.layout import materialise
from modelworks.blobs.store import BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, NotFoundError, UnavailableError
from modelworks.core.home import Access
from modelworks.core.model import Artifact

pytestmark = pytest.mark.timeout(900)  # servers come with the first test

# Those that have servers run with the real parts.
S3 = pytest.param("s3", marks=pytest.mark.real)
GCS = pytest.param("gcs", marks=pytest.mark.real)
AZURE = pytest.param("azure", marks=pytest.mark.real)
STORES = [pytest.param("folder", marks=pytest.mark.contract), S3, GCS, AZURE]

BIG = os.urandom(19 << 20)  # several parts of an upload in parts


@dataclass
class Place:
    """One store, and the address that reaches it again."""

    where: Path | str
    access: Access

    def open(self, **more) -> BlobStore:
        return BlobStore(self.where, more.get("access", self.access))


@pytest.fixture(params=STORES)
def place(request, tmp_path):
    if request.param == "folder":
        return Place(tmp_path / "blobs", Access())
    buckets = request.getfixturevalue(f"{request.param}_server")
    return Place(buckets.new(), buckets.access())


@pytest.fixture
def blobs(place):
    return place.open()


def made(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def key(digest):
    name = digest.removeprefix("sha256:")
    return f"sha256/{name[:2]}/{name}"


def overwrite(blobs, digest, content):
    """What a bad disk or a careless hand does to a stored object."""
    obstore.put(blobs._store, key(digest), content)


def objects(blobs):
    """Everything that can be seen in the store, under whatever name."""
    return sorted(meta["path"] for chunk in obstore.list(blobs._store) for meta in chunk)


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "byte", "many parts"])
def test_what_is_put_is_got(blobs, tmp_path, content):
    digest = blobs.put(made(tmp_path, content))
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
    blobs.fetch(digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert blobs.size(digest) == len(content)
    assert [(blob.digest, blob.size) for blob in blobs.list()] == [(digest, len(content))]
    blobs.check(digest)
    blobs.reach()
    assert objects(blobs) == [key(digest)]


def test_another_process_finds_what_was_put(place, blobs, tmp_path):
    digest = blobs.put(made(tmp_path, b"x"))
    place.open().check(digest)


def test_deletion_is_quiet_the_second_time(blobs, tmp_path):
    first, second = (blobs.put(made(tmp_path, content)) for content in (b"1", b"2"))
    blobs.delete(first)
    blobs.delete_all([first, second])
    blobs.delete_all([first, second])
    blobs.delete_all([])
    assert not blobs.exists(first)
    assert objects(blobs) == []


def test_what_is_not_there_is_named(blobs, tmp_path):
    digest = "sha256:" + "0" * 64
    for act in (blobs.size, blobs.check, lambda name: blobs.fetch(name, tmp_path / "out")):
        with pytest.raises(NotFoundError, match=digest):
            act(digest)
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize("damage", [b"wrong", b"", b"right and more"])
def test_damage_is_found_never_handed_out_and_healed(blobs, tmp_path, damage):
    path = made(tmp_path, b"right")
    digest = blobs.put(path)
    overwrite(blobs, digest, damage)
    with pytest.raises(CorruptError, match=digest):
        blobs.check(digest)
    with pytest.raises(CorruptError, match=digest):
        blobs.fetch(digest, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []
    assert blobs.put(path) == digest
    blobs.check(digest)


def test_a_damaged_file_is_named_and_nothing_is_laid_out(blobs, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name, content in {"model.onnx": b"graph", "weights.bin": b"0123456789"}.items():
        blobs.put(made(source, content, name))
    entries = tuple(digests.tree(source))
    artifact = Artifact(digests.of_entries(entries), "onnx", 15, entries)
    overwrite(blobs, dict(entries)["weights.bin"], b"0123456780")
    with pytest.raises(CorruptError, match=r"weights\.bin: the stored file is damaged"):
        materialise(blobs, artifact, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    blobs.put(source / "weights.bin")
    assert check_folder(materialise(blobs, artifact, tmp_path / "cache"), artifact) == []


@pytest.mark.parametrize("size", [100, len(BIG)], ids=["one part", "many parts"])
def test_a_file_that_changes_meanwhile_never_becomes_visible(blobs, tmp_path, monkeypatch, size):
    path = made(tmp_path, BIG[:size])

    def digest_of_another_time(_):
        return digests.of_bytes(b"as it was before")

    monkeypatch.setattr(store_module.digests, "of_file", digest_of_another_time)
    with pytest.raises(CorruptError, match="changed while it was stored"):
        blobs.put(path)
    monkeypatch.undo()
    assert objects(blobs) == []


def test_many_put_the_same_at_once(place, tmp_path):
    path = made(tmp_path, BIG)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: place.open().put(path), range(8)))
    assert found == {digests.of_file(path)}
    blobs = place.open()
    blobs.check(found.pop())
    assert len(objects(blobs)) == 1


UPLOADER = """
import sys
from pathlib import Path
from modelworks.blobs import store
from modelworks.core.home import Access

where, folder, config = eval(sys.argv[1])
real = store._sent

def slow(path, digest):
    for number, piece in enumerate(real(path, digest)):
        yield piece
        if number == 12:  # the first part is on its way
            print("half", flush=True)
            sys.stdin.read()

store._sent = slow
target = Path(where) if folder else where
store.BlobStore(target, Access(config, http=True)).put(Path(sys.argv[2]))
"""


def test_a_killed_upload_leaves_nothing_visible(place, blobs, tmp_path):
    path = made(tmp_path, BIG)
    told = (str(place.where), isinstance(place.where, Path), dict(place.access.config))
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, repr(told), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"half\n"
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert list(blobs.list()) == []
    assert not blobs.exists(digests.of_file(path))
    digest = blobs.put(path)
    blobs.check(digest)
    assert [blob.digest for blob in blobs.list()] == [digest]


# -- what can be wrong with a bucket


@pytest.mark.parametrize("kind", [S3, GCS, AZURE])
def test_a_missing_bucket_is_one_line_with_its_cure(kind, request, tmp_path):
    buckets = request.getfixturevalue(f"{kind}_server")
    blobs = BlobStore(f"{buckets.scheme}://nobody-made-it/here", buckets.access())
    acts = [lambda: blobs.put(made(tmp_path, b"x")), lambda: list(blobs.list()), blobs.reach]
    for act in acts[:1] if kind == "gcs" else acts:  # the fake one answers a listing with 500
        with pytest.raises(UnavailableError) as caught:
            act()
        assert "\n" not in caught.value.message
        assert "bucket" in caught.value.message


@pytest.mark.real
def test_a_wrong_key_is_one_line_and_not_shown(azure_server, tmp_path):
    access = azure_server.access(account_key="c2VjcmV0IHNlY3JldA==")
    with pytest.raises(UnavailableError, match="access is refused") as caught:
        BlobStore(azure_server.new(), access).put(made(tmp_path, b"x"))
    assert "\n" not in caught.value.message
    assert "c2Vj" not in caught.value.message
    assert "c2Vj" not in repr(access)


@pytest.mark.contract
def test_nobody_there_is_one_line_and_soon(s3_server, tmp_path):
    access = s3_server.access(seconds=2.0, endpoint="http://127.0.0.1:1")
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="nothing answers there") as caught:
        BlobStore("s3://bucket/x", access).put(made(tmp_path, b"x"))
    assert time.monotonic() - begun < 30
    assert "\n" not in caught.value.message


@pytest.mark.contract
def test_plain_http_is_refused_unless_allowed(s3_server, tmp_path):
    access = Access(s3_server.config, http=False, seconds=5.0)
    with pytest.raises(UnavailableError, match="plain http"):
        BlobStore(s3_server.new(), access).put(made(tmp_path, b"x"))


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "byte", "many parts"])
def test_bytes_are_taken_by_digest_and_read_again(blobs, content):
    digest = digests.of_bytes(content)
    for _ in range(2):  # the second time they are there already
        given = iter([content[:100], b"", content[100:]])
        blobs.take(digest, len(content), given)
        assert list(given) == []
        assert b"".join(blobs.read(digest)) == content


def test_other_bytes_than_the_digest_says_are_never_seen(blobs):
    digest = digests.of_bytes(b"right")
    with pytest.raises(CorruptError, match="are others"):
        blobs.take(digest, 5, [b"wr", b"ong"])
    assert objects(blobs) == []
    blobs.take(digest, 5, [b"right"])
    with pytest.raises(CorruptError, match="are others"):  # even where the right ones are there
        blobs.take(digest, 5, [b"wrong"])
    assert b"".join(blobs.read(digest)) == b"right"


def test_a_damaged_blob_is_healed_by_what_is_taken(blobs):
    digest = digests.of_bytes(b"right")
    blobs.take(digest, 5, [b"right"])
    overwrite(blobs, digest, b"wrong")
    with pytest.raises(CorruptError):
        b"".join(blobs.read(digest))
    blobs.take(digest, 5, [b"right"])
    assert b"".join(blobs.read(digest)) == b"right"
