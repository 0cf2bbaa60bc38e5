"""`monitoring.records` of a manifest: what is read, what is wrong, and what a server is told."""

import json

import pytest

from modelworks.apps.server_records import record_policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.core.errors import InvalidError
from modelworks.core.records import Act, FieldPolicy, RecordPolicy
from modelworks.core.served import ServedModel
from modelworks.protocol.manifest import Deployment, ManifestError, load, schema
from modelworks.protocol.manifest.server import Places, variables
from modelworks.serving.policy import Policy

pytestmark = pytest.mark.unit
HEAD = """\
kind: Deployment
metadata: {name: fraud}
spec:
  model: fraud@champion
  target: local
  monitoring:
"""


def spec(text):
    (found,) = load([("m.yaml", (HEAD + text).encode())]).of(Deployment)
    return found.spec


def test_what_is_written_is_the_policy_that_a_server_has():
    found = spec("""\
    records:
      sample: 0.25
      fields: [{field: income, act: hash}, {field: header:X-Customer, act: drop}]
      outputs: false
      subject: header:X-Customer
      retention_days: 7
""")
    wanted = RecordPolicy(
        sample=0.25,
        outputs=False,
        fields=(FieldPolicy("income", Act.HASH), FieldPolicy("header:X-Customer", Act.DROP)),
        subject="header:X-Customer",
        retention_days=7,
    )
    assert found.monitoring.records.policy == wanted
    told = variables(found, Places(records="/r", revision="fraud/3", served="/s"))
    settings = ServerSettings.read([], told)
    assert record_policy_of(settings) == wanted
    assert (settings.records, settings.revision) == ("/r", "fraud/3")


def test_without_records_a_server_is_told_nothing_of_them():
    for found in (spec("    metrics: false\n"), spec("    records: null\n")):
        told = variables(found, Places(records="/r", revision="fraud/3"))
        assert not [name for name in told if "RECORD" in name or "REVISION" in name]
    nowhere = variables(spec("    records: {sample: 1}\n"), Places())
    assert not [name for name in nowhere if "RECORD" in name]


def test_defaults_are_those_of_a_policy():
    assert spec("    records: {sample: 1}\n").monitoring.records.policy == RecordPolicy(sample=1)


@pytest.mark.parametrize(
    ("text", "line", "path", "words"),
    [
        ("records: {}", 7, "records.sample", "is missing"),
        ("records: {sample: 2}", 7, "records.sample", "less than or equal to 1"),
        ("records: {sample: .nan}", 7, "records.sample", "nan"),
        ("records: {sample: 1, smaple: 1}", 7, "records.smaple", "did you mean 'sample'?"),
        ("records: {sample: 1, retention_days: -1}", 7, "records.retention_days", "greater"),
        (
            "records: {sample: 1, fields: [{field: a, act: shred}]}",
            7,
            "records.fields[0].act",
            "should be 'keep', 'drop', 'hash'",
        ),
        (
            "records:\n      sample: 1\n      fields:\n      - {field: '', act: drop}",
            10,
            "records.fields[0].field",
            "at least 1 character",
        ),
        (
            "records: {sample: 1, fields: [{field: a, act: drop}, {field: a, act: keep}]}",
            7,
            "records",
            "names 'a' twice",
        ),
        ("records: {sample: 1, subject: 'header:'}", 7, "records.subject", "no name of a header"),
        ("records: {sample: 1, key: 'header:a b'}", 7, "records.key", "no name of a header"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_path(text, line, path, words):
    with pytest.raises(ManifestError) as raised:
        spec(f"    {text}\n")
    [problem] = raised.value.problems
    assert (problem.mark.line, problem.path) == (line, f"spec.monitoring.{path}")
    assert words in problem.message


def test_the_schema_has_every_field_with_its_meaning():
    found = schema()["$defs"]["Records"]
    assert found["required"] == ["sample"]
    assert set(found["properties"]) == set(RecordPolicy.__dataclass_fields__)
    assert all(one["description"] for one in found["properties"].values())


def settings(**said):
    return ServerSettings(file="m.onnx", records="/r", **said)


def test_a_policy_is_a_file_or_stands_there_itself(tmp_path):
    text = json.dumps({"sample": 0.5, "subject": "age"})
    (tmp_path / "policy.json").write_text(text)
    wanted = RecordPolicy(sample=0.5, subject="age")
    assert record_policy_of(settings(record_policy=text)) == wanted
    assert record_policy_of(settings(record_policy=str(tmp_path / "policy.json"))) == wanted
    for bad in ("{", '{"smaple": 1}', '{"sample": 3}', str(tmp_path / "none.json")):
        with pytest.raises(InvalidError) as raised:
            record_policy_of(settings(record_policy=bad))
        assert raised.value.field.startswith("record_policy")


def test_a_line_of_the_list_keeps_its_own_revision_and_policy():
    own = RecordPolicy(sample=0.1)
    policy = Policy(records=RecordPolicy(sample=1), revision="fraud/3")
    line = policy.line(ServedModel("fraud", "1.0.0", "m", ""))
    assert (line.revision, line.records.sample) == ("fraud/3", 1)
    said = ServedModel("fraud", "1.0.0", "m", "", records=own, revision="fraud/2")
    assert policy.line(said) == said
