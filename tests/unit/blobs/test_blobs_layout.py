"""An artifact becomes a folder: whole, checked, once, however many ask."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelworks.blobs.folder import check_folder, checked_path, drop_damaged
from modelworks.blobs.layout import materialise, prune
from modelworks.blobs.store import BlobStore
from modelworks.core import digest as digests
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.core.model import Artifact

pytestmark = pytest.mark.unit

FILES = {"model.onnx": b"graph", "weights/part-0.bin": b"0123456789", "weights/empty": b""}


def stored(blobs: BlobStore, source: Path, files=None) -> Artifact:
    for name, content in (files or FILES).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
        blobs.put(source / name)
    entries = digests.tree(source)
    size = sum((source / name).stat().st_size for name, _ in entries)
    return Artifact(digests.of_entries(entries), "onnx", size, tuple(entries))


@pytest.fixture(params=["local", "remote"])
def blobs(request, tmp_path):
    """A folder, and a store that is none."""
    return BlobStore(tmp_path / "blobs" if request.param == "local" else "memory:///")


@pytest.fixture
def local(tmp_path):
    return BlobStore(tmp_path / "blobs")


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_has_every_file(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source")
    folder = materialise(blobs, artifact, tmp_path / "cache")
    assert folder == tmp_path / "cache" / artifact.digest.removeprefix("sha256:")
    assert content(folder) == FILES
    assert check_folder(folder, artifact) == []


def test_a_blob_damaged_later_does_not_reach_the_folder(local, tmp_path):
    artifact = stored(local, tmp_path / "source")
    folder = materialise(local, artifact, tmp_path / "cache")
    name, digest = artifact.files[0]
    local.local(digest).chmod(0o644)
    local.local(digest).write_bytes(b"grapf")
    assert content(folder) == FILES
    assert (folder / name).stat().st_mode & 0o777 == 0o444
    assert materialise(local, artifact, tmp_path / "cache") == folder


def test_the_second_time_is_the_same_folder(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source")
    first = materialise(blobs, artifact, tmp_path / "cache")
    inode = first.stat().st_ino
    assert materialise(blobs, artifact, tmp_path / "cache").stat().st_ino == inode


@pytest.mark.parametrize("harm", ["longer", "altered", "missing", "extra"])
def test_a_wrong_folder_is_made_anew(blobs, tmp_path, harm):
    artifact = stored(blobs, tmp_path / "source")
    folder = materialise(blobs, artifact, tmp_path / "cache")
    victim = folder / "model.onnx"
    if harm == "extra":
        (folder / "more").write_bytes(b"")
    else:
        victim.unlink()
    if harm in {"longer", "altered"}:
        victim.write_bytes(b"graph and more" if harm == "longer" else b"grapf")
    assert content(materialise(blobs, artifact, tmp_path / "cache")) == FILES


def test_a_damaged_folder_of_the_right_size_is_found_and_dropped(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source")
    folder = materialise(blobs, artifact, tmp_path / "cache")
    drop_damaged(tmp_path / "cache", artifact)
    assert folder.is_dir()
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").write_bytes(b"grapf")
    assert check_folder(folder, artifact) == ["model.onnx was altered"]
    drop_damaged(tmp_path / "cache", artifact)
    assert not folder.exists()
    assert content(materialise(blobs, artifact, tmp_path / "cache")) == FILES


def test_a_link_in_the_folder_is_a_problem(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source")
    folder = materialise(blobs, artifact, tmp_path / "cache")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("/etc/hostname")
    assert check_folder(folder, artifact)
    assert content(materialise(blobs, artifact, tmp_path / "cache")) == FILES


def test_a_damaged_blob_is_named_and_nothing_is_laid_out(local, tmp_path):
    artifact = stored(local, tmp_path / "source")
    digest = dict(artifact.files)["weights/part-0.bin"]
    local.local(digest).chmod(0o644)
    local.local(digest).write_bytes(b"0123456780")
    with pytest.raises(CorruptError, match=r"weights/part-0\.bin: the stored file is damaged"):
        materialise(local, artifact, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_lost_blob_is_named(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source")
    blobs.delete(dict(artifact.files)["model.onnx"])
    with pytest.raises(NotFoundError, match=r"model\.onnx: the stored file is gone"):
        materialise(blobs, artifact, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_many_at_once_get_one_whole_folder(blobs, tmp_path):
    artifact = stored(blobs, tmp_path / "source", {f"{i}.bin": os.urandom(2000) for i in range(20)})
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: materialise(blobs, artifact, cache), range(24)))
    assert len(folders) == 1
    assert check_folder(folders.pop(), artifact) == []
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    "name",
    ["", ".", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", "a\\b", "a\0b", "x" * 2000],
)
def test_paths_out_of_the_folder_are_refused(name, local, tmp_path):
    with pytest.raises(InvalidError):
        checked_path(name)
    digest = local.put(Path(__file__))
    artifact = Artifact("sha256:" + "0" * 64, "onnx", 1, ((name, digest),))
    with pytest.raises(InvalidError):
        materialise(local, artifact, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_pruning_keeps_what_is_known(local, tmp_path):
    cache = tmp_path / "cache"
    kept = stored(local, tmp_path / "one")
    gone = stored(local, tmp_path / "two", {"model.onnx": b"other"})
    folders = [materialise(local, artifact, cache) for artifact in (kept, gone)]
    aside = prune(cache, {kept.digest})
    assert folders[0].is_dir()
    assert not folders[1].exists()
    assert [path.is_dir() for path in aside] == [True]
    assert prune(tmp_path / "nowhere", set()) == []
