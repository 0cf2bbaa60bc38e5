"""What a layout keeps: whole files, layers that are made once, copies, artifacts."""

import errno
import json
import os
from contextlib import nullcontext

import pytest
from bases import base

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.packaging.oci import Entry, Layout, read_image, verify
from modelworks.packaging.oci.artifact import ARTIFACT, artifact
from modelworks.packaging.oci.copies import copy
from modelworks.packaging.oci.temporary import clear, replacing, temporary

pytestmark = pytest.mark.unit


def half(path):
    with replacing(path) as beside:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "full")


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        half(path)
    assert path.read_text() == "old"
    with replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_what_is_written_to_is_not(tmp_path):
    left, young = tmp_path / ".blob-0.part", tmp_path / ".blob-1.part"
    left.touch()
    os.utime(left, (0, 0))
    young.touch()
    with temporary(tmp_path, "layer") as held:
        os.utime(held, (0, 0))
        clear(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([held, young])
    clear(tmp_path, 0)
    assert not list(tmp_path.iterdir())


def test_a_layer_is_made_once(tmp_path):
    layout = Layout.create(tmp_path / "layout")
    calls = []

    def entries():
        calls.append(1)
        return nullcontext([Entry("/a", data=b"a")])

    first = layout.layer_once("key", entries)
    assert layout.layer_once("key", entries) == first
    assert len(calls) == 1
    layout.layer_once("other", entries)
    first.path.unlink()
    assert layout.layer_once("key", entries) == first
    assert len(calls) == 3
    note = next((layout.folder / "layers").iterdir())
    note.write_text("{}")
    layout.layer_once("key", entries)
    layout.layer_once("other", entries)
    assert len(calls) == 4  # the one whose note says nothing


def test_a_copy_is_whole_or_not_there(tmp_path):
    layout, image = base(tmp_path / "layout")
    copy(layout, image, "a:1", tmp_path / "there")
    copy(layout, image, "b:1", tmp_path / "there")
    there = Layout.open(tmp_path / "there")
    assert sorted(there.names()) == ["a:1", "b:1"]
    verify(there, read_image(there, "a:1"))
    layer = layout.path(image.layers[0])
    layer.write_bytes(b"x" * image.layers[0].size)
    with pytest.raises(CorruptError, match="it is removed"):
        copy(layout, image, "c:1", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not layer.exists()
    there.path(image.layers[0]).unlink()
    with pytest.raises(NotFoundError, match="holds no blob"):
        copy(layout, image, "c:1", tmp_path / "there")
    assert sorted(there.names()) == ["a:1", "b:1"]


def test_nothing_else_is_written_over(tmp_path):
    layout, image = base(tmp_path / "layout")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(InvalidError, match="no OCI layout"):
        copy(layout, image, "a:1", tmp_path / "mine")
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["letter"]


def test_an_artifact_holds_the_files_by_name(tmp_path):
    layout = Layout.create(tmp_path / "layout")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    (tmp_path / "steps.json").write_bytes(b"{}")
    files = {"sub/steps.json": tmp_path / "steps.json", "model.onnx": tmp_path / "model.onnx"}
    made = artifact(layout, files, {"ref": "fraud:1.0.0"}, {"a": "b"})
    manifest = json.loads(layout.read(made.descriptor))
    assert (manifest["artifactType"], manifest["annotations"]) == (ARTIFACT, {"a": "b"})
    titles = [one["annotations"]["org.opencontainers.image.title"] for one in manifest["layers"]]
    assert titles == ["model.onnx", "sub/steps.json"]
    assert layout.path(made.layers[0]).read_bytes() == b"onnx"
    assert json.loads(layout.read(made.configuration)) == {"ref": "fraud:1.0.0"}
    assert artifact(layout, files, {"ref": "fraud:1.0.0"}, {"a": "b"}) == made
