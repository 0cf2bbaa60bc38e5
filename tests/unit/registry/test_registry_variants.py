"""Variants: kept beside their version, on both pairs of stores."""

import contextlib
from dataclasses import replace

import pytest

from modelworks.core.errors import ConflictError, InvalidError, NotFoundError
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.stepped import Stepped, write_stepped
from modelworks.core.steps import InputSteps, Tokenize
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.db import schema
from modelworks.db.engine import open_database
from modelworks.registry import variants as verbs
from modelworks.registry.service import Registry
from modelworks.testing.candidates import candidate, measured, signature, variant

pytestmark = pytest.mark.unit

HERE = pytest.mark.parametrize("stores", ["sqlite+folder"], indirect=True)
"""What no store has a say in."""


@pytest.fixture
def version(registry, tmp_path):
    return registry.publish(candidate(tmp_path / "source"))


@pytest.fixture
def folder(tmp_path):
    """Files of a form."""
    found = tmp_path / "form"
    found.mkdir()
    (found / "model.onnx").write_bytes(b"small")
    return found


def acts(database, tenant="default"):
    with database.tenant(tenant).read() as session:
        rows = session.execute(verbs.rows.select(verbs.rows.AuditRow)).scalars()
        return sorted((row.act, row.subject) for row in rows)


def test_a_variant_is_kept_whole_and_found(registry, version, folder, clock, blobs):
    made = registry.add_variant(variant(version), folder)
    assert made.artifact.files == (("model.onnx", verbs.of_file(folder / "model.onnx")),)
    assert (made.artifact.size, made.artifact.format) == (5, "onnx")
    assert (made.created_ns, made.actor, made.ref) == (clock.now, "ada", "fraud:1.0.0#int8")
    assert registry.variants("fraud") == registry.variants("fraud:1.0.0") == [made]
    assert registry.variant("fraud", "int8") == made
    (line,) = registry.variant_outline()
    assert (line.model, line.version, line.name) == ("fraud", version.version, "int8")
    assert line.artifact == made.artifact.digest
    blobs.check(made.artifact.files[0][1])


def test_the_same_again_changes_nothing_and_another_measurement_neither(
    registry, version, folder, database
):
    made = registry.add_variant(variant(version), folder)
    again = variant(version, measurement=measured(p99_us=5.0))
    assert registry.add_variant(again, folder) == made
    assert acts(database) == [("add-variant", "variant/fraud:1.0.0#int8")]


@HERE
@pytest.mark.parametrize(
    "other",
    [
        {"recipe": Recipe((), Execution("onnxruntime", (("arena", "off"),)))},
        {"measurement": measured("arm64 dotprod")},
        {},
    ],
    ids=["recipe", "hardware", "bytes"],
)
def test_a_name_is_never_given_to_another_form(registry, version, folder, other):
    made = registry.add_variant(variant(version), folder)
    if not other:
        (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(ConflictError, match="never changes"):
        registry.add_variant(variant(version, **other), folder)
    assert registry.variants("fraud") == [made]


@HERE
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "fastest"}, "name"),
        ({"name": "a b"}, "variant"),
        ({"measurement": measured(p99_us=float("nan"))}, "variant.measurement.times[0].cpu_us[0]"),
        ({"signature": signature(output="z")}, "signature"),
        ({"signature": Signature((TensorSpec("x", Datatype.INT8, (None, 3)),), ())}, "signature"),
    ],
)
def test_what_no_variant_can_be_is_refused(registry, version, folder, wrong, field):
    with pytest.raises(InvalidError) as caught:
        registry.add_variant(replace(variant(version), **wrong), folder)
    assert caught.value.field == field
    assert registry.variants("fraud") == []


@HERE
def test_of_an_unknown_version_there_are_none(registry, version, folder):
    with pytest.raises(NotFoundError):
        registry.add_variant(replace(variant(version), version="2.0.0"), folder)
    with pytest.raises(NotFoundError):
        registry.variants("fraud:2.0.0")
    with pytest.raises(NotFoundError, match="has no variant 'int8'; there are: none"):
        registry.variant("fraud", "int8")


@HERE
def test_there_is_a_bound(registry, version, folder, monkeypatch):
    monkeypatch.setattr(verbs, "MOST", 2)
    for name in ("a", "b"):
        registry.add_variant(variant(version, name), folder)
    with pytest.raises(InvalidError, match="no more are kept"):
        registry.add_variant(variant(version, "c"), folder)
    assert [one.name for one in registry.variants("fraud")] == ["a", "b"]


def test_its_files_are_verified_and_collected_with_it(registry, version, folder, blobs, database):
    made = registry.add_variant(variant(version), folder)
    assert registry.collect().blobs == 0
    assert (registry.verify("fraud").ok, registry.verify("fraud").files) == (True, 2)
    with pytest.raises(NotFoundError, match="there are: int8"):
        registry.remove_variant("fraud", "int4")
    assert registry.remove_variant("fraud", "int8") == made
    assert registry.variants("fraud") == []
    assert registry.verify("fraud").files == 1
    assert registry.collect().blobs == 1
    assert acts(database)[-1] == ("remove-variant", "variant/fraud:1.0.0#int8")


def test_a_lost_file_is_named_with_its_variant(registry, version, folder, blobs):
    made = registry.add_variant(variant(version), folder)
    blobs.delete_all([made.artifact.files[0][1]])
    found = registry.verify("fraud")
    assert not found.ok
    assert found.problems[0].startswith("#int8 model.onnx: ")


def test_a_form_with_the_bytes_of_the_source_shares_them(registry, version, tmp_path):
    """The source form, run in another way, is a variant too."""
    run = Recipe((), Execution("onnxruntime", (("arena", "off"),)))
    made = registry.add_variant(variant(version, "no-arena", recipe=run), tmp_path / "source")
    assert made.artifact == version.artifact
    registry.remove_variant("fraud", "no-arena")
    assert registry.collect().blobs == 0
    assert registry.verify("fraud").ok


def test_variants_go_with_their_version(registry, version, folder, tmp_path):
    registry.add_variant(variant(version), folder)
    other = registry.publish(candidate(tmp_path / "next", b"next"))
    kept = registry.add_variant(variant(other), folder)
    registry.delete("fraud:1.0.0")
    assert registry.variants("fraud") == [kept]
    assert registry.collect().blobs == 1  # the source's; the form's bytes are the other's too
    registry.delete("fraud")
    assert registry.collect().blobs == 2
    assert registry.variant_outline() == []


def test_a_tenant_sees_its_own(registry, version, folder, database, blobs, home):
    registry.add_variant(variant(version), folder)
    other = Registry(database.tenant("other"), blobs, home.cache)
    assert other.variant_outline() == []
    with pytest.raises(NotFoundError):
        other.variants("fraud")
    assert acts(database, "other") == []


@HERE
def test_a_database_of_an_earlier_schema_gets_variants(registry, version, folder, database, home):
    with database.writer.begin() as connection:
        schema.migrate(connection, "0007", down=True)
    database.close()
    again = open_database(home.database)
    with contextlib.closing(again):
        later = Registry(again.tenant(), registry._blobs, home.cache)
        assert later.show("fraud") == version
        assert later.add_variant(variant(version), folder).ref == "fraud:1.0.0#int8"


def test_a_cut_leaves_nothing(registry, version, folder, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(verbs.rows, "audit", fail)
        with pytest.raises(RuntimeError):
            registry.add_variant(variant(version), folder)
    assert registry.variants("fraud") == []
    assert registry.collect().blobs == 1
    assert registry.add_variant(variant(version), folder).name == "int8"


@HERE
def test_the_steps_before_the_model_come_along(registry, folder, tmp_path):
    model = Signature((TensorSpec("ids", Datatype.INT64, (None, None)),), signature().outputs)
    steps = (InputSteps("text", tokenize=Tokenize("words.json", ids="ids", mask="", types="")),)
    sent = Signature(
        (TensorSpec("text", Datatype.BYTES, (None,)),), signature().outputs, steps=steps
    )
    wanted = candidate(tmp_path / "stepped", name="texts", signature=sent)
    write_stepped(wanted.folder, Stepped(sent, model, front=True))
    (wanted.folder / "words.json").write_text("{}")
    (wanted.folder / "steps.onnx").write_bytes(b"front")
    version = registry.publish(wanted)
    made = registry.add_variant(variant(version, signature=model), folder)
    names = [name for name, _ in made.artifact.files]
    assert names == ["model.onnx", "steps.json", "steps.onnx", "words.json"]
    assert made.signature == sent
    (folder / "words.json").write_text("[]")
    with pytest.raises(InvalidError, match=r"words\.json is a file of the steps"):
        registry.add_variant(variant(version, "other"), folder)
