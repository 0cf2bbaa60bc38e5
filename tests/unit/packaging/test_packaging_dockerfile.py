"""Build contexts: what lies in them, what the Dockerfile says, what is not written over."""

import json

import pytest
from wheel_maker import simple

from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedModel
from modelworks.packaging.dockerfile import text, write_context
from modelworks.packaging.image import About, change
from modelworks.packaging.wheels import read_wheels

pytestmark = pytest.mark.unit
BASE = "python:3.11-slim-bookworm"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "artifact"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / "sub" / "run").write_bytes(b"#!")
    (folder / "sub" / "run").chmod(0o700)
    return ServedModel("fraud", "1.4.0", str(folder), "sha256:0")


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    simple(folder, "modelworks")
    return read_wheels(folder)


def write(folder, model, wheels, base=BASE):
    write_context(folder, base, [model], wheels, About("fraud:1.4.0", {"a.b": "c"}))


def test_everything_that_a_build_needs_lies_there(tmp_path, model, wheels):
    folder = tmp_path / "deep" / "build"
    write(folder, model, wheels)
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    assert sorted(found) == [
        ".dockerignore",
        "Dockerfile",
        "models/fraud/1.4.0/model.onnx",
        "models/fraud/1.4.0/sub/run",
        "requirements.txt",
        "sbom.cdx.json",
        "served.json",
        f"wheels/{wheels[0].path.name}",
    ]
    assert found["requirements.txt"].read_text() == wheels[0].requirement() + "\n"
    served = json.loads(found["served.json"].read_text())
    assert served["models"][0]["path"] == "/opt/modelworks/models/fraud/1.4.0"
    assert found["models/fraud/1.4.0/sub/run"].stat().st_mode & 0o777 == 0o755
    assert found["served.json"].stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755
    ignored = found[".dockerignore"].read_text().split()
    assert ignored[0] == "*"
    assert {"!wheels", "!models", "!served.json"} <= set(ignored)


def test_one_of_ours_is_replaced_and_nothing_else_is(tmp_path, model, wheels):
    folder = tmp_path / "build"
    write(folder, model, wheels)
    (folder / "models" / "old").touch()
    write(folder, model, wheels)
    assert not (folder / "models" / "old").exists()
    (folder / "letter").touch()
    with pytest.raises(InvalidError, match="something else") as told:
        write(folder, model, wheels)
    assert told.value.field == "dockerfile"
    assert (folder / "letter").exists()


@pytest.mark.parametrize("base", ["", "a b", "a\nRUN x"])
def test_a_base_is_one_word(tmp_path, model, wheels, base):
    with pytest.raises(InvalidError, match="no name of an image"):
        write(tmp_path / "build", model, wheels, base)
    assert not (tmp_path / "build").exists()


def test_a_label_ends_no_line_and_names_no_variable():
    said = text(BASE, change({"title": 'a "b" $HOME \\\nUSER root'}))
    assert 'LABEL title="a \\"b\\" \\$HOME \\\\ USER root"\n' in said
    assert [line for line in said.splitlines() if line.startswith("USER")] == ["USER 10001:10001"]
    assert said.count(f"FROM {BASE}") == 2
    assert "--require-hashes" in said
