"""Put once, whole or not at all; every read is checked."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelworks.blobs.store import BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnavailableError

pytestmark = pytest.mark.unit

BIG = os.urandom(11 << 20)  # several parts of a multi-part upload


@pytest.fixture(params=["folder", "file url", "memory url"])
def blobs(request, tmp_path):
    where = {
        "folder": tmp_path / "blobs",
        "file url": f"file://{tmp_path}",
        "memory url": "memory:///",
    }
    return BlobStore(where[request.param])


@pytest.fixture
def local(tmp_path):
    return BlobStore(tmp_path / "blobs")


def made(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "byte", "many parts"])
def test_what_is_put_is_got(blobs, tmp_path, content):
    digest = blobs.put(made(tmp_path, content))
    assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
    blobs.fetch(digest, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert blobs.size(digest) == len(content)
    assert [blob.digest for blob in blobs.list()] == [digest]
    blobs.check(digest)


def test_layout_is_sharded_and_read_only(local, tmp_path):
    digest = local.put(made(tmp_path, b"x"))
    name = digest.removeprefix("sha256:")
    path = tmp_path / "blobs" / "sha256" / name[:2] / name
    assert path.read_bytes() == b"x"
    assert path == local.local(digest)
    assert path.stat().st_mode & 0o777 == 0o444


def test_putting_twice_keeps_the_first(local, tmp_path):
    digest = local.put(made(tmp_path, b"x"))
    before = local.local(digest).stat()
    assert local.put(made(tmp_path, b"x", "other")) == digest
    after = local.local(digest).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_putting_again_heals_a_damaged_blob(local, tmp_path):
    path = made(tmp_path, b"right")
    digest = local.put(path)
    local.local(digest).chmod(0o644)
    local.local(digest).write_bytes(b"wrong")
    local.put(path)
    local.check(digest)


def test_deletion_is_quiet_the_second_time(blobs, tmp_path):
    digest = blobs.put(made(tmp_path, b"x"))
    assert blobs.exists(digest)
    blobs.delete(digest)
    blobs.delete(digest)
    assert not blobs.exists(digest)
    assert list(blobs.list()) == []


def test_what_is_not_there_is_named(blobs, tmp_path):
    digest = "sha256:" + "0" * 64
    for act in (
        blobs.size,
        blobs.check,
        lambda name: blobs.fetch(name, tmp_path / "out"),
    ):
        with pytest.raises(NotFoundError, match=digest):
            act(digest)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [b"y", b"", b"xx"])
def test_damage_is_found_and_never_handed_out(local, tmp_path, damage):
    digest = local.put(made(tmp_path, b"x"))
    local.local(digest).chmod(0o644)
    local.local(digest).write_bytes(damage)
    with pytest.raises(CorruptError, match=digest):
        local.check(digest)
    with pytest.raises(CorruptError, match=digest):
        local.fetch(digest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "file"]


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:XY", "sha256:../../../etc/passwd", "md5:" + "0" * 64]
)
def test_what_is_no_digest_is_refused(blobs, digest):
    with pytest.raises(InvalidError, match="no digest"):
        blobs.exists(digest)


def test_a_half_written_blob_is_invisible_and_swept_when_old(local, tmp_path):
    digest = local.put(made(tmp_path, b"x"))
    half = local.local(digest).with_name("f" * 64 + "#1")
    half.write_bytes(b"ha")
    fresh = half.with_name("e" * 64 + "#1")
    fresh.write_bytes(b"ha")
    long_ago = time.time() - 2 * 3600
    os.utime(half, (long_ago, long_ago))
    assert [blob.digest for blob in local.list()] == [digest]
    local.sweep()
    assert not half.exists()
    assert fresh.exists()
    local.check(digest)


def test_many_put_the_same_at_once(local, tmp_path):
    path = made(tmp_path, BIG)
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(local.put, [path] * 12))) == 1
    local.check(digests.of_file(path))


def test_a_url_of_no_store_is_refused():
    with pytest.raises(InvalidError) as caught:
        BlobStore("foo://bucket")
    assert "\n" not in caught.value.message


def test_a_file_in_the_way_is_one_line(tmp_path):
    made(tmp_path, b"", "blobs")
    with pytest.raises(UnavailableError) as caught:
        BlobStore(tmp_path / "blobs").put(made(tmp_path, b"x", "other"))
    assert "\n" not in caught.value.message
