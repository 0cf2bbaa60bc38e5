"""`modelworks package` from the registry to a file: what is made, made once, refused."""

import importlib.metadata
import json
import re

import pytest
from bases import base
from fake_registry import Kept, registry
from wheel_maker import simple

from modelworks.cli.main import main
from modelworks.control.package import SLIM, Packaging, archive_for
from modelworks.control.service import Factory
from modelworks.core.model import Lineage
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.packaging import wheelhouse
from modelworks.packaging.base import bring
from modelworks.packaging.oci import Layout, read_image, verify
from modelworks.packaging.system import System
from modelworks.registry.publish import Publication
from modelworks.testing.candidates import measured, variant

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 3)),)
)
MODEL = ServedModel("m", "1.0.0", "/m", "sha256:0")


@pytest.fixture
def filled(home, tmp_path, monkeypatch):
    """fraud:1.0.0 and, of a kind that no image serves, old:1.0.0."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"onnx")
    with Factory(home, actor="ana") as factory:
        for name, kind in (("fraud", "onnx"), ("old", "native")):
            factory.publish(
                Publication(name, folder, kind, SIGNATURE, Lineage(git_commit="c0ffee"))
            )
    monkeypatch.setenv("MODELWORKS_HOME", str(home.root))
    return home


@pytest.fixture
def given(tmp_path):
    """A base, and wheels that hold next to nothing."""
    base(tmp_path / "base")
    folder = tmp_path / "wheels"
    folder.mkdir()
    simple(folder, "modelworks", files={"modelworks/__init__.py": b""})  # ours takes seconds
    wanted = wheelhouse.wanted([MODEL], System((3, 11), (2, 36), "", ()), "amd64")
    for line in wanted.lines:
        name = line.partition("==")[0]
        simple(folder, name.replace("-", "_"), importlib.metadata.version(name))
    return ["--base", str(tmp_path / "base"), "--wheels", str(folder)]


def typed(capsys, *words, code=0):
    assert main(["package", *map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_image_is_made_once_and_says_what_it_is(filled, given, tmp_path, capsys):
    first = typed(capsys, "fraud", *given, "-o", tmp_path / "layout")
    again = typed(capsys, "fraud:1.0.0", *given, "-o", tmp_path / "fraud.tar")
    assert (first["digest"], first["known"], first["name"]) == (
        again["digest"],
        False,
        "fraud:1.0.0",
    )
    assert again["known"]
    there = Layout.open(tmp_path / "layout")
    image = read_image(there, "fraud:1.0.0")
    verify(there, image)
    labels = image.config["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == "c0ffee"
    assert "org.opencontainers.image.base.name" not in labels  # a path of this machine
    assert str(tmp_path) not in json.dumps(image.config)


def test_an_alias_that_moves_makes_no_other_image(filled, given, tmp_path, capsys):
    first = typed(capsys, "fraud", *given, "-o", tmp_path / "layout")
    with Factory(filled) as factory:
        factory.set_alias("fraud", "champion", "1.0.0")
    assert typed(capsys, "fraud@champion", *given, "-o", tmp_path / "a.tar")["known"]
    with Factory(filled) as factory:
        factory.publish(Publication("fraud", tmp_path / "artifact", "onnx", SIGNATURE, Lineage()))
    other = typed(capsys, "fraud:1.1.0", *given, "-o", tmp_path / "b.tar")
    assert other["digest"] != first["digest"]


def test_a_variant_has_an_image_of_its_own(filled, given, tmp_path, capsys):
    source = typed(capsys, "fraud", *given, "-o", tmp_path / "layout")
    (tmp_path / "artifact" / "model.onnx").write_bytes(b"int8")
    with Factory(filled) as factory:
        run = Recipe(run=Execution("onnxruntime", (("arena", "off"),)))
        made = variant(factory.show("fraud"), measurement=measured("abacus"), recipe=run)
        kept = factory.add_variant(made, tmp_path / "artifact")
    found = typed(capsys, "fraud#int8", *given, "-o", tmp_path / "layout")
    assert (found["ref"], found["name"]) == ("fraud:1.0.0#int8", "fraud:1.0.0-int8")
    assert found["digest"] != source["digest"]
    image = read_image(Layout.open(tmp_path / "layout"), "fraud:1.0.0-int8")
    labels = image.config["config"]["Labels"]
    assert labels["modelworks.artifact"] == kept.artifact.digest
    assert labels["modelworks.variant"] == "int8"
    typed(capsys, "fraud#int8", "--dockerfile", tmp_path / "d", *given[2:])
    (model,) = json.loads((tmp_path / "d" / "served.json").read_text())["models"]
    assert (model["variant"], model["engine_options"]) == ("int8", {"arena": "off"})
    [file] = (tmp_path / "d" / "models").rglob("model.onnx")
    assert file.read_bytes() == b"int8"
    assert "no variant 'int4'" in typed(capsys, "fraud#int4", "-o", "a.tar", code=3)["error"]


def test_people_are_told_what_was_made(filled, given, tmp_path, capsys):
    assert main(["package", "fraud", *given, "-o", str(tmp_path / "a.tar")]) == 0
    told = capsys.readouterr()
    assert re.search(r"image +sha256:[0-9a-f]{64} \(.* beyond its base\)", told.out)
    assert "... writing the layers" in told.err
    assert main(["package", "fraud", "--dockerfile", str(tmp_path / "d"), *given[2:]]) == 0
    assert f"FROM {SLIM} AS" in (tmp_path / "d" / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fraud"], 4, "say what is wanted"),
        (["fraud", "-o", "a.tar"], 4, "say what the image stands on"),
        (["gone", "-o", "a.tar", "--base", "BASE"], 3, "gone"),
        (["old", "-o", "a.tar", "--base", "BASE"], 4, "runs with its own framework"),
        (["fraud", "-o", "a.tar", "--base", "/nowhere"], 3, "nothing lies at"),
        (["fraud", "-o", "a.tar", "--base", "BASE", "--wheels", "/nowhere"], 4, "no folder"),
        (["fraud", "--push", "short"], 4, "HOST/REPOSITORY:TAG"),
        (["fraud", "--push", "r.example.com/a@sha256:" + "0" * 64], 4, "gets its digest"),
        (["fraud", "--dockerfile", "d", "--base", "BASE"], 4, "cannot build on the file"),
    ],
)
def test_what_cannot_be_is_said(filled, given, tmp_path, capsys, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    found = typed(capsys, *(given[1] if word == "BASE" else word for word in words), code=code)
    assert said in found["error"]
    assert not (tmp_path / "a.tar").exists()


def test_a_url_of_a_control_plane_is_refused(filled, monkeypatch, capsys):
    monkeypatch.setenv("MODELWORKS_URL", "http://127.0.0.1:1")
    assert "unset MODELWORKS_URL" in typed(capsys, "fraud", "-o", "a.tar", code=4)["error"]


def test_a_full_disk_is_said(filled, given, tmp_path, capsys, monkeypatch):
    def full(*_words):
        raise OSError(28, "No space left on device", str(tmp_path / "a.tar"))

    monkeypatch.setattr("modelworks.control.package.archive", full)
    found = typed(capsys, "fraud", *given, "-o", tmp_path / "a.tar", code=6)
    assert found["error"].startswith(f"{tmp_path / 'a.tar'}: No space left on device")


def test_what_is_pushed_is_known_by_its_digest_and_made_once(filled, given, tmp_path):
    said = []
    with Factory(filled) as factory, registry(Kept()) as host:
        asked = Packaging(given[1], push=f"{host}/models/fraud", wheels=tmp_path / "wheels")
        first = factory.package("fraud", asked, said.append)
        assert first.image == f"{host}/models/fraud@{first.digest}"
        assert factory.package("fraud", asked, said.append).image == first.image
        assert len([one for one in said if "layers" in one]) == 1
        apart = factory.package("fraud", Packaging(artifact=f"{host}/artifacts/fraud:1"))
        assert re.fullmatch(rf"{host}/artifacts/fraud@sha256:[0-9a-f]{{64}}", apart.artifact)


def test_an_engine_gets_a_file_whose_name_says_its_content(filled, given, tmp_path):
    asked = Packaging(given[1], wheels=tmp_path / "wheels")
    with Factory(filled) as factory:
        version, model = factory.show("fraud"), factory.resolve(["fraud"]).models[0]
    path, name = archive_for(filled, version, model, asked, lambda _: None)
    assert archive_for(filled, version, model, asked, lambda _: None) == (path, name)
    image = bring(str(path), Layout.create(tmp_path / "there"))
    assert name == f"modelworks/fraud:1.0.0-{image.descriptor.hex[:12]}"
