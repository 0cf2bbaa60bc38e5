"""Images without an engine: reproducible layers, layouts that others can read, archives."""

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.packaging.oci import (
    Change,
    Entry,
    Layout,
    Platform,
    archive,
    extend,
    read_image,
    verify,
    write_layer,
)
from modelworks.packaging.oci.descriptor import INDEX, canonical
from modelworks.packaging.oci.layer import tree

pytestmark = pytest.mark.unit
NAME = "registry.example.com/models/fraud:1.4.0"


@pytest.fixture
def layout(tmp_path):
    return Layout.create(tmp_path / "layout")


def unpacked(layer):
    data = gzip.decompress(layer.path.read_bytes())
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar.getmembers()}


def made(layout, base=None, **change):
    layer = layout.add_layer([Entry("/opt/a", data=b"a")])
    return extend(layout, base, [layer], Change(**change))


def test_a_layer_depends_on_nothing_but_what_is_in_it(tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "b").write_bytes(b"b" * 100_000)
    (source / "a").write_text("a")
    (source / "a").chmod(0o700)
    (source / "link").symlink_to("deep/b")
    found = []
    for place, time in (("one", 1), ("two", 2_000_000_000)):
        into = tmp_path / place
        into.mkdir()
        os.utime(source / "a", (time, time))
        entries = list(tree(source, "/srv/model", owner=10001))
        found.append(write_layer(entries if time == 1 else reversed(entries), into))
    first, second = found
    assert first.descriptor == second.descriptor
    assert first.path.read_bytes() == second.path.read_bytes()
    members = unpacked(first)
    assert list(members) == [
        *("srv", "srv/model", "srv/model/a", "srv/model/deep", "srv/model/deep/b"),
        "srv/model/link",
    ]
    assert members["srv/model/a"].mode == 0o755
    assert members["srv/model/deep/b"].mode == 0o644
    assert members["srv/model/link"].linkname == "deep/b"
    assert {m.mtime for m in members.values()} == {0}
    assert members["srv/model/a"].uid == 10001
    assert members["srv"].uid == 0


def test_a_folder_stands_before_what_is_in_it_whatever_sorts_between(tmp_path):
    layer = write_layer([Entry("/a/b", data=b""), Entry("/a.txt", data=b"")], tmp_path)
    assert list(unpacked(layer)) == ["a", "a/b", "a.txt"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([Entry("relative", data=b"")], "no path within an image"),
        ([Entry("/a/../../etc", data=b"")], "no path within an image"),
        ([Entry("/", data=b"")], "no path within an image"),
        ([Entry("/a", data=b""), Entry("/a", data=b"")], "stands twice"),
        ([Entry("/a", data=b""), Entry("/a/b", data=b"")], "'/a' is a file"),
    ],
)
def test_what_no_layer_can_hold_is_refused(tmp_path, entries, words):
    with pytest.raises(InvalidError, match=words):
        write_layer(entries, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_refused_and_a_file_that_goes_leaves_nothing(tmp_path):
    source, into = tmp_path / "source", tmp_path / "into"
    source.mkdir()
    into.mkdir()
    os.mkfifo(source / "pipe")
    with pytest.raises(InvalidError, match="neither file, folder nor link"):
        list(tree(source, "/x"))
    with pytest.raises(FileNotFoundError):
        write_layer([Entry("/x", source / "gone")], into)
    assert list(into.iterdir()) == []


def test_an_image_says_what_the_one_below_said_and_what_is_new(layout):
    base = made(
        layout,
        entrypoint=("sh",),
        command=("-c", "true"),
        environment={"PATH": "/bin", "A": "1"},
        labels={"one": "1"},
        user="root",
    )
    own = made(
        layout,
        base,
        entrypoint=("serve",),
        environment={"A": "2"},
        labels={"two": "2"},
        user="10001:10001",
        ports=(8080,),
        health=("check",),
    )
    said = own.config["config"]
    assert said["Entrypoint"] == ["serve"]
    assert "Cmd" not in said  # arguments of another program
    assert said["Env"] == ["PATH=/bin", "A=2"]
    assert said["Labels"] == {"one": "1", "two": "2"}
    assert (said["User"], said["ExposedPorts"]) == ("10001:10001", {"8080/tcp": {}})
    assert said["Healthcheck"]["Test"] == ["CMD", "check"]
    assert len(own.layers) == len(own.config["rootfs"]["diff_ids"]) == 2
    assert own.layers[0] == base.layers[0]
    assert base.config["config"]["User"] == "root"  # not touched
    verify(layout, own)


def test_names_are_moved_and_found(layout):
    first = made(layout, labels={"v": "1"})
    second = made(layout, first, labels={"v": "2"})
    with pytest.raises(NotFoundError, match="holds nothing"):
        read_image(layout)
    layout.name(first.descriptor, "a")
    assert read_image(layout) == first
    layout.name(second.descriptor, "b")
    assert read_image(Layout.open(layout.folder), "b") == second
    layout.name(second.descriptor, "a")
    assert read_image(layout, "a") == second
    with pytest.raises(NotFoundError, match="it holds a, b"):
        read_image(layout, "c")


def test_an_index_has_an_image_a_platform(layout):
    image = extend(layout, None, [], Change(), platform=Platform(architecture="arm64"))
    one = image.descriptor.document() | {"platform": {"os": "linux", "architecture": "arm64"}}
    index = layout.add(canonical({"schemaVersion": 2, "manifests": [one]}), INDEX)
    listed = index.document() | {"annotations": {"org.opencontainers.image.ref.name": "x"}}
    (layout.folder / "index.json").write_bytes(canonical({"manifests": [listed]}))
    assert read_image(layout, "x", Platform(architecture="arm64")) == image
    with pytest.raises(NotFoundError, match="nothing for linux/amd64: it has linux/arm64"):
        read_image(layout, "x")


def test_an_archive_is_a_layout_and_what_old_engines_read(layout, tmp_path):
    image = made(layout, labels={"v": "1"})
    archive(layout, image, NAME, tmp_path / "one.tar")
    archive(layout, image, NAME, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    again = Layout.open(tmp_path / "out")
    assert read_image(again, NAME).config == image.config
    verify(again, read_image(again, NAME))
    (docker,) = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert docker["RepoTags"] == [NAME]
    for path in (docker["Config"], *docker["Layers"]):
        data = (tmp_path / "out" / path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == path.split("/")[-1]


def test_what_was_changed_or_lost_is_noticed(layout):
    image = made(layout)
    layout.name(image.descriptor, "a")
    layer = layout.path(image.layers[0])
    data = layer.read_bytes()
    layer.write_bytes(data[:-1] + b"x")
    with pytest.raises(CorruptError):
        verify(layout, image)
    layer.unlink()
    with pytest.raises(NotFoundError):
        verify(layout, image)
    layout.path(image.descriptor).write_bytes(b"{}")
    with pytest.raises(CorruptError):
        read_image(layout, "a")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("oci-layout", "{", "no OCI layout"),
        ("oci-layout", '{"imageLayoutVersion":"2.0.0"}', "another version"),
        ("index.json", "[", "cannot be read"),
        ("index.json", '{"manifests":[{"digest":"x"}]}', "descriptor"),
        ("index.json", '{"manifests":[{"mediaType":"a","digest":"sha256:1","size":1}]}', "sha256"),
    ],
)
def test_a_folder_that_is_no_layout_is_refused(layout, name, content, words):
    (layout.folder / name).write_text(content)
    with pytest.raises(InvalidError, match=words):
        read_image(Layout.open(layout.folder), "a")


def test_a_layout_is_not_made_among_other_things(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InvalidError, match="is not empty"):
        Layout.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
