"""Base images from wherever they lie, and what is read from their layers."""

import gzip
import hashlib
import json

import pytest
from bases import DEBIAN, MINOR, base, python, write_tar

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnsupportedError
from modelworks.packaging.base import bring, called
from modelworks.packaging.oci import Descriptor, Entry, Layout, archive, verify
from modelworks.packaging.system import look

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path):
    return Layout.create(tmp_path / "ours")


@pytest.mark.parametrize("suffix", ["", ":base"])
def test_an_image_comes_from_a_layout(tmp_path, layout, suffix):
    _, image = base(tmp_path / "theirs")
    found = bring(f"{tmp_path / 'theirs'}{suffix}", layout)
    assert found == image
    verify(layout, found)


def test_an_image_comes_from_an_archive_of_ours(tmp_path, layout):
    there, image = base(tmp_path / "theirs")
    archive(there, image, "registry.example.com/base:1", tmp_path / "base.tar")
    assert bring(str(tmp_path / "base.tar"), layout) == image
    verify(layout, image)
    assert not list(layout.folder.glob(".work-*"))


def saved(folder, there, image, **changed):
    """What `docker save` of engines before OCI layouts writes: one layer is a link to another."""
    layers = [gzip.decompress(there.path(one).read_bytes()) for one in image.layers]
    members = {"config.json": json.dumps(image.config).encode()}
    names = []
    for number, data in enumerate(layers):
        names.append(f"{number}/layer.tar")
        same = [other for other in range(number) if layers[other] == data]
        members[names[-1]] = f"../{same[0]}/layer.tar" if same else data
    listed = [{"Config": "config.json", "RepoTags": ["base:1"], "Layers": names}]
    members["manifest.json"] = json.dumps(listed).encode()
    return write_tar(folder / "saved.tar", {**members, **changed})


def test_an_image_comes_from_an_engine_that_saved_it(tmp_path, layout):
    twice = (Entry("/a", data=b"a"),)
    there, image = base(tmp_path / "theirs", python(), twice, twice)
    found = bring(str(saved(tmp_path, there, image)), layout)
    assert found.config == image.config
    assert [one.digest for one in found.layers] == image.config["rootfs"]["diff_ids"]
    verify(layout, found)


def test_what_is_no_whole_image_is_refused(tmp_path, layout):
    there, image = base(tmp_path / "theirs", python())
    with pytest.raises(CorruptError, match="should be sha256"):
        bring(str(saved(tmp_path, there, image, **{"0/layer.tar": b"other"})), layout)
    with pytest.raises(InvalidError, match="no image of `docker save`"):
        bring(str(saved(tmp_path, there, image, **{"config.json": b"{}"})), layout)
    with pytest.raises(InvalidError, match="several images"):
        bring(str(saved(tmp_path, there, image, **{"manifest.json": b"[]"})), layout)
    listed = json.dumps([{"Config": "gone.json", "Layers": []}]).encode()
    with pytest.raises(CorruptError, match=r"lacks 'gone\.json'"):
        bring(str(saved(tmp_path, there, image, **{"manifest.json": listed})), layout)
    with pytest.raises(InvalidError, match=r"neither index\.json nor manifest\.json"):
        bring(str(write_tar(tmp_path / "other.tar", {"a": b""})), layout)
    (tmp_path / "words.tar").write_bytes(b"words")
    with pytest.raises(InvalidError, match="is no archive"):
        bring(str(tmp_path / "words.tar"), layout)
    with pytest.raises(NotFoundError, match="nothing lies at"):
        bring(str(tmp_path / "nowhere"), layout)
    with pytest.raises(InvalidError, match="HOST/REPOSITORY:TAG"):
        bring("python:3.11", layout)


def test_a_blob_that_was_changed_does_not_come(tmp_path, layout):
    there, image = base(tmp_path / "theirs")
    there.path(image.layers[0]).write_bytes(b"x" * image.layers[0].size)
    with pytest.raises(CorruptError, match=image.layers[0].digest):
        bring(str(tmp_path / "theirs"), layout)
    assert not layout.holds(image.layers[0])


def test_only_a_reference_is_what_a_base_is_called(tmp_path):
    base(tmp_path / "theirs")
    assert called("registry.example.com/python:3.11") == "registry.example.com/python:3.11"
    assert called(str(tmp_path / "theirs")) == called(f"{tmp_path / 'theirs'}:base") == ""


def test_python_c_library_and_packages_are_read(tmp_path):
    layout, image = base(tmp_path / "theirs", DEBIAN, python(9), python(13, "/usr/local/bin"))
    found = look(layout, image)
    assert (found.python, found.glibc) == ((3, 13), (2, 36))  # the PATH's first
    assert found.name == "Debian GNU/Linux 12 (bookworm)"
    assert [(one.name, one.version) for one in found.packages] == [
        ("adduser", "3.134"),
        ("libc6", "2.36-9+deb12u10"),
    ]
    assert found.packages[1].purl == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"
    layout.path(image.layers[0]).unlink()
    assert look(layout, image) == found  # read once


def test_an_absolute_link_and_a_plain_tar_are_read(tmp_path):
    layout, image = base(tmp_path / "theirs")
    data = gzip.decompress(layout.path(image.layers[0]).read_bytes())
    linked = write_tar(
        tmp_path / "l.tar", {"./usr/bin/python3": "/usr/local/bin/python3.12", "x": data}
    )
    more = write_tar(tmp_path / "m.tar", {"/usr/local/bin/python3.12": b""})
    for path in (linked, more):
        with path.open("rb") as file:
            blob = layout.add_file(file, "application/vnd.oci.image.layer.v1.tar")
        image = type(image)(image.descriptor, blob, image.config, (*image.layers, blob))
    assert look(layout, image).python == (3, 12)


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (DEBIAN, InvalidError, "no python3 on its PATH"),
        ((*python(), Entry("/lib/ld-musl-x86_64.so.1", data=b"")), UnsupportedError, "musl"),
        ((Entry("/usr/bin/python3", link="python3"),), InvalidError, "no python3"),
    ],
)
def test_a_base_that_no_server_starts_on_is_refused(tmp_path, layer, error, words):
    with pytest.raises(error, match=words) as told:
        look(*base(tmp_path / "theirs", layer))
    assert told.value.field == "base"


def test_a_layer_that_cannot_be_read_is_refused(tmp_path):
    layout, image = base(tmp_path / "theirs")
    other = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", "sha256:" + "0" * 64, 1)
    with pytest.raises(InvalidError, match="only gzip and plain tar"):
        look(layout, type(image)(image.descriptor, image.configuration, image.config, (other,)))
    data = layout.path(image.layers[0]).read_bytes()[:200]
    (layout.blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    short = Descriptor(
        image.layers[0].media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", 200
    )
    with pytest.raises(InvalidError, match="layer"):
        look(layout, type(image)(image.descriptor, image.configuration, image.config, (short,)))
    assert look(layout, image).python == (3, MINOR)
