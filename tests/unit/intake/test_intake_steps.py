"""Steps files: read strictly, joined with what the source says, their files laid aside."""

from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.steps import InputSteps, Tokenize, Validate
from modelworks.core.tensor import Signature
from modelworks.intake import steps

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[3]


def imported(*items):
    return Imported("onnx", "onnx", Signature((), ()), None, {}, steps=items)


def written(folder, text, name="steps.yaml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "steps").iterdir()), ids=lambda p: p.name
)
def test_the_examples_are_steps(path):
    assert steps.read(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "an object wanted"),
        ("inputs: [{name: a}]\nschema: 2", "schema 2"),
        ("inputs: [{nam: a}]", "did you mean 'name'"),
        ("inputs: [{name: a, impute: {value: !!python/object/apply:os.getcwd []}}]", "read"),
    ],
)
def test_what_is_no_steps_file_is_refused(tmp_path, text, says):
    with pytest.raises(InvalidError, match=says) as caught:
        steps.read(written(tmp_path, text))
    assert "\n" not in caught.value.message


def test_a_folder_has_its_steps_and_their_files(tmp_path):
    source, into = tmp_path / "prep", tmp_path / "into"
    source.mkdir()
    into.mkdir()
    written(source, "inputs: [{name: t, tokenize: {tokenizer: my.json}}]")
    (source / "my.json").write_text("{}")
    options = ImportOptions(steps=source)
    (item,) = steps.declared(imported(), options, tmp_path / "m.onnx", into)
    assert item.tokenize.tokenizer == "steps/my.json"
    assert (into / "steps" / "my.json").read_text() == "{}"
    (source / "my.json").unlink()
    with pytest.raises(InvalidError, match=r"my\.json"):
        steps.declared(imported(), options, tmp_path / "m.onnx", into)
    (source / "steps.yaml").unlink()
    with pytest.raises(InvalidError, match=r"no steps\.yaml"):
        steps.declared(imported(), options, tmp_path / "m.onnx", into)


def test_a_tokenizer_that_is_a_link_out_is_refused(tmp_path):
    source, into = tmp_path / "prep", tmp_path / "into"
    source.mkdir()
    into.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (source / "t.json").symlink_to(tmp_path / "secret.json")
    written(source, "inputs: [{name: t, tokenize: {tokenizer: t.json}}]")
    with pytest.raises(InvalidError, match=r"t\.json"):
        steps.declared(imported(), ImportOptions(steps=source), tmp_path / "m", into)


def test_rules_are_added_and_steps_replace(tmp_path):
    own = InputSteps("text", tokenize=Tokenize(tokenizer="steps/tokenizer.json"))
    other = InputSteps("more", tokenize=Tokenize(tokenizer="steps/tokenizer.json"))
    file = written(tmp_path, "inputs: [{name: text, validate: {required: true}}]")
    found = steps.declared(
        imported(own, other), ImportOptions(steps=file), tmp_path / "m", tmp_path
    )
    assert found[0] == InputSteps("text", validate=Validate(required=True), tokenize=own.tokenize)
    assert found[1] == other
    assert steps.declared(imported(own), ImportOptions(), tmp_path / "m", tmp_path) == (own,)
