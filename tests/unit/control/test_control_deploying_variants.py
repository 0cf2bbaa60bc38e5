"""A deployment in a form of its version: resolved when it is applied, fixed in the revision."""

import shutil

import pytest
import yaml

from memory_target import MemoryTarget, Place
from modelworks.control import forms
from modelworks.control.deploying import targets
from modelworks.control.service import Factory
from modelworks.core.deployment import Revision
from modelworks.core.desired import State
from modelworks.core.errors import ConflictError, NotFoundError, UnsupportedError
from modelworks.core.plans import Act
from modelworks.core.served import ServedModel
from modelworks.deploy import reconcile
from modelworks.plugins import load
from modelworks.testing.candidates import candidate, measured, variant

pytestmark = pytest.mark.unit

HERE = forms.here().hardware


@pytest.fixture
def kind():
    class Kind(MemoryTarget):
        nearby = True
        images = False

    return Kind


@pytest.fixture
def factory(home, tmp_path, kind, monkeypatch):
    place, known = Place(), load.load

    def loaded(group, name):
        return (lambda: kind(place)) if name == "memory" else known(group, name)

    monkeypatch.setattr(targets.load, "load", loaded)
    monkeypatch.setattr(reconcile.RealClock, "sleep", lambda _self, _seconds: None)
    with Factory(home, actor="ada") as factory:
        version = factory.publish(candidate(tmp_path / "work", b"one"))
        for name, p99, size, hardware in (
            ("quick", 50.0, 900, HERE),
            ("small", 200.0, 100, HERE),
            ("alien", 1.0, 1, "abacus"),
        ):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "model.onnx").write_bytes(name.encode())
            figures = {
                "measurement": measured(hardware, p99, size=size),
                "source": measured(hardware, 300.0),
            }
            factory.add_variant(variant(version, name, **figures), folder)
        yield factory


def manifest(**spec):
    document = {
        "apiVersion": "modelworks/v1",
        "kind": "Deployment",
        "metadata": {"name": "fraud"},
        "spec": {"model": "fraud:1.0.0", "target": "memory", **spec},
    }
    return [("modelworks.yaml", yaml.safe_dump(document).encode())]


def apply(factory, **spec):
    [done] = factory.deploying.apply(manifest(**spec), "", lambda _: None)
    assert done.state is State.READY, done.message
    return done


def plan(factory, **spec):
    [one] = factory.deploying.plan(manifest(**spec)).documents
    return one


def runs(factory):
    model = factory.deploying.revisions("fraud")[0].revision.model
    return model.variant


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, ""),
        ({"variant": "fastest"}, "quick"),
        ({"variant": "smallest"}, "small"),
        ({"variant": "small"}, "small"),
        ({"model": "fraud:1.0.0#quick"}, "quick"),
    ],
)
def test_the_form_that_is_asked_for_is_in_the_revision(factory, spec, name):
    assert plan(factory, **spec).act is Act.CREATE
    apply(factory, **spec)
    assert runs(factory) == name
    assert factory.deploying.one("fraud").model == f"fraud:1.0.0{name and '#' + name}"
    assert plan(factory, **spec).act is Act.UNCHANGED


def test_another_form_is_another_revision_and_back_is_the_first(factory):
    apply(factory)
    changed = plan(factory, variant="fastest")
    assert changed.act is Act.UPDATE
    assert ("form", "source", "quick") in {(c.path, c.before, c.after) for c in changed.changes}
    assert "fastest is variant 'quick', by what was measured" in changed.notes
    assert apply(factory, variant="fastest").revision == 2
    assert factory.deploying.roll_back("fraud", 0, lambda _: None).revision == 1
    assert apply(factory, variant="fastest").revision == 2


def test_a_better_variant_changes_nothing_until_it_is_applied(factory, tmp_path):
    apply(factory, variant="fastest")
    figures = {"measurement": measured(HERE, 5.0), "source": measured(HERE, 300.0)}
    made = variant(factory.show("fraud"), "quicker", **figures)
    factory.add_variant(made, tmp_path / "small")
    assert runs(factory) == "quick"
    assert factory.deploying.one("fraud").moved == "fraud:1.0.0#quicker"
    assert plan(factory, variant="fastest").act is Act.UPDATE
    apply(factory, variant="fastest")
    assert runs(factory) == "quicker"


def test_a_variant_of_other_hardware_is_refused_where_that_is_known(factory, kind):
    with pytest.raises(UnsupportedError, match=r"yaml:\d+:\d+: spec.variant: .*on 'abacus'"):
        plan(factory, variant="alien")
    with pytest.raises(UnsupportedError, match=r"yaml:\d+:\d+: spec.model: .*on 'abacus'"):
        plan(factory, model="fraud#alien")
    kind.nearby = False
    notes = plan(factory, variant="alien").notes
    assert "what it was measured on may differ from the machines of the target" in notes


def test_a_form_that_there_is_not_is_named_with_its_line(factory):
    with pytest.raises(NotFoundError, match=r"yaml:\d+:\d+: spec.variant: .*quick, small"):
        plan(factory, variant="quickest")


def test_what_a_revision_runs_is_not_deleted(factory):
    apply(factory, variant="quick")
    with pytest.raises(ConflictError, match=r"runs fraud:1\.0\.0#quick, or can go back"):
        factory.delete("fraud#quick")
    assert factory.delete("fraud#small") == ["fraud:1.0.0#small"]
    with pytest.raises(ConflictError):
        factory.delete("fraud:1.0.0")
    factory.deploying.delete("fraud", lambda _: None)
    assert factory.delete("fraud#quick") == ["fraud:1.0.0#quick"]


def test_files_that_were_cleared_away_are_laid_out_again(factory):
    apply(factory, variant="quick")
    shutil.rmtree(factory.home.cache)
    factory.deploying.healer().round()
    (kept,) = factory.deploying.revisions("fraud")
    assert list(factory.home.cache.iterdir()) == [
        factory.home.cache / kept.revision.model.digest.removeprefix("sha256:")
    ]


def test_revisions_of_earlier_builds_keep_their_digest():
    """What has no options of its own runs as before: no roll-out because of an upgrade."""
    model = ServedModel("fraud", "1.0.0", "/m", "sha256:" + "0" * 64)
    assert Revision("fraud", 1, {}, model).digest == "6029d3ab87de2e9b"
