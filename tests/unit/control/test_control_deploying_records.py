"""Records that a manifest asks for: held against the model, and kept as long as was promised."""

from dataclasses import replace

import pytest
import yaml

from modelworks.control.deploying.retention import days_of
from modelworks.control.service import Factory
from modelworks.core.deployment import Revision
from modelworks.core.desired import Desired
from modelworks.core.errors import InvalidError
from modelworks.core.plans import Act
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Signature
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.testing.candidates import candidate, signature

pytestmark = pytest.mark.unit


@pytest.fixture
def verbs(home, tmp_path):
    with Factory(home) as factory:
        named = replace(signature(2), features=("age", "income"))
        factory.publish(candidate(tmp_path / "work", b"one", "fraud", signature=named))
        unknown = candidate(tmp_path / "odd", b"odd", "odd", signature=Signature((), ()))
        factory.publish(unknown)
        yield factory.deploying


def manifest(records, model="fraud", target="local"):
    document = {
        "kind": "Deployment",
        "metadata": {"name": "fraud"},
        "spec": {"model": model, "target": target, "monitoring": {"records": records}},
    }
    return [("modelworks.yaml", yaml.safe_dump(document, sort_keys=False).encode())]


def test_fields_of_the_model_and_headers_are_taken(verbs, home):
    fields = [{"field": name, "act": "hash"} for name in ("age", "x", "y", "header:X-Anything")]
    [plan] = verbs.plan(manifest({"sample": 1, "fields": fields, "key": "income"})).documents
    assert plan.act is Act.CREATE
    assert '"MODELWORKS_SERVER_REVISION": "fraud/1"' in plan.native
    assert f'"MODELWORKS_SERVER_RECORDS": "{home.records}"' in plan.native


def test_every_wrong_name_is_refused_with_its_place(verbs):
    fields = [{"field": "age", "act": "drop"}, {"field": "incme", "act": "drop"}]
    with pytest.raises(InvalidError) as raised:
        verbs.plan(manifest({"sample": 1, "fields": fields, "subject": "customer"}))
    first, second = raised.value.message.splitlines()
    assert first == (
        "modelworks.yaml:13:9: spec.monitoring.records.fields[1].field: fraud:1.0.0 has no field "
        "'incme': did you mean 'income'?"
    )
    assert "modelworks.yaml:15:7: spec.monitoring.records.subject: " in second
    assert "known are age, income, x, y" in second
    assert raised.value.field == "spec.monitoring.records.fields[1].field"
    with pytest.raises(InvalidError, match="no field 'incme'"):
        verbs.apply(manifest({"sample": 1, "fields": fields}), "", lambda _: None)
    assert verbs.all() == []


def test_a_model_that_tells_nothing_of_its_fields_is_not_held_against(verbs):
    said = {"sample": 1, "subject": "whatever"}
    assert verbs.plan(manifest(said, model="odd")).documents[0].act is Act.CREATE


@pytest.mark.parametrize("target", ["kubernetes", "swarm"])
def test_targets_that_cannot_refuse_with_the_field_and_the_cure(verbs, target):
    plan = verbs.plan(manifest({"sample": 1}, target=target))
    [document] = plan.documents
    [refused] = document.refused
    assert refused.path == "spec.monitoring.records.sample"
    assert "record what is deployed on local" in refused.how
    assert refused.place.startswith("modelworks.yaml:")


def spec(**monitoring):
    whole = {"model": "fraud:1.0.0", "target": "local", "monitoring": monitoring}
    return DeploymentSpec.model_validate(whole).model_dump(mode="json")


def test_a_changed_policy_is_another_revision_and_one_of_before_stays_what_it_is():
    model = ServedModel("fraud", "1.0.0", "m", "")

    def digest(said):
        return Revision("fraud", 1, said, model).digest

    some, more = spec(records={"sample": 0.5}), spec(records={"sample": 0.6})
    assert len({digest(spec()), digest(some), digest(more)}) == 3
    before = spec()
    del before["monitoring"]["records"]  # as it was kept before there was this field
    assert digest(before) == digest(spec())


def asked(name, model, **monitoring):
    return Desired(name, "local", {}, {"spec": {**spec(**monitoring), "model": model}})


def test_of_several_who_record_a_model_the_fewest_days_count():
    def days(number):
        return {"sample": 1, "retention_days": number}

    found = days_of(
        [
            asked("a", "fraud@champion", records=days(30)),
            asked("b", "fraud:1.0.0", records=days(7)),
            asked("c", "fraud", records=days(0)),
            asked("d", "kept", records=days(0)),
            asked("e", "silent"),
        ],
        {"fraud": 90, "served": 5},
    )
    assert found == {"fraud": 7, "kept": 0, "served": 5}
