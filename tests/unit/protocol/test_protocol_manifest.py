"""A manifest: what is read of it, and what is said of one that is wrong."""

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelworks.protocol.manifest import Deployment, ManifestError, Route, load, schema
from modelworks.protocol.manifest.deployment import Metric, Spread
from properties import examples

pytestmark = pytest.mark.unit
HEAD = """\
apiVersion: modelworks/v1
kind: Deployment
metadata: {name: fraud}
spec:
  model: fraud@champion
  target: docker
"""
ROUTE = """\
kind: Route
metadata: {name: front}
spec:
  backends:
  - {deployment: fraud, weight: 90}
  - {deployment: fraud-next, weight: 10}
"""
OVERLAY = """\
kind: Overlay
spec:
  environment: production
  of: {kind: Deployment, name: fraud}
  patch:
"""


def read(*texts, environment=""):
    return load([(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)], environment)


def spec(text="", *overlays, environment=""):
    (found,) = read(HEAD + text, *overlays, environment=environment).of(Deployment)
    return found.spec


def problems(*texts, environment=""):
    with pytest.raises(ManifestError) as raised:
        read(*texts, environment=environment)
    return [str(problem) for problem in raised.value.problems]


def test_the_shortest_manifest_has_safe_defaults():
    found = spec()
    assert (found.model, found.target.type, found.replicas) == ("fraud@champion", "docker", 1)
    assert found.access.expose == "host"
    assert found.access.keys is None
    assert found.model_fields_set == {"model", "target"}


def test_what_is_written_is_what_is_wanted():
    found = spec("""\
  autoscaling: {min: 0, max: 9, metric: concurrency, goal: 4}
  resources: {cpu: 500m, cpu_limit: 2, memory: 512Mi}
  environment: {GREETING: "no", WHEN: 12:30, EMPTY: ''}
  secrets: [{name: TOKEN, source: {secret: fraud, key: token}, mount: true}]
  placement: {spread: zone, node_labels: {disk.example.com/kind: ssd}}
  access: {port: 9000, keys: {file: /etc/keys}}
""")
    assert (found.resources.cpu, found.resources.cpu_limit) == (0.5, 2.0)
    assert found.resources.memory == 512 * 2**20
    assert found.autoscaling.metric is Metric.CONCURRENCY
    assert found.environment == {"GREETING": "no", "WHEN": "12:30", "EMPTY": ""}
    assert found.secrets[0].source.secret == "fraud"
    assert found.placement.spread is Spread.ZONE


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("64Mi", 64 << 20),
        ("1.5Gi", 3 << 29),
        ("2000k", 2_000_000),
        (1048576, 1 << 20),
        ("1G", 10**9),
    ],
)
def test_memory_has_units(written, bytes_):
    assert spec(f"  resources: {{memory: {written}}}\n").resources.memory == bytes_


@pytest.mark.parametrize(
    ("text", "line", "path", "words"),
    [
        ("  replica: 2\n", 7, "spec.replica", "did you mean 'replicas'?"),
        ("  batching: {maxBatchSize: 3}\n", 7, "spec.batching.maxBatchSize", "'max_batch_size'?"),
        ("  slo:\n    p99_ms: 3\n", 8, "spec.slo.p99_ms", "did you mean 'latency_p99_ms'?"),
        ("  replicas: two\n", 7, "spec.replicas", "'two' is no whole number"),
        ("  replicas: 1.5\n", 7, "spec.replicas", "1.5 is no whole number"),
        ("  replicas: true\n", 7, "spec.replicas", "true is no whole number"),
        ("  replicas: -1\n", 7, "spec.replicas", "-1: input should be greater than"),
        ("  environment: {PORT: 8080}\n", 7, "spec.environment.PORT", "put quotes around it"),
        ("  environment: {A-B: x}\n", 7, "spec.environment.A-B", "should match"),
        ("  resources: {memory: 512MB}\n", 7, "spec.resources.memory", "512Mi"),
        ("  resources: {memory: 1}\n", 7, "spec.resources.memory", "greater than"),
        ("  resources: {cpu: [1]}\n", 7, "spec.resources.cpu", "a list is no number"),
        ("  resources: {cpu: 2, cpu_limit: 1}\n", 7, "spec.resources", "less than cpu: 2"),
        ("  replicas: 2\n  autoscaling: {max: 3}\n", 4, "spec", "leave one out"),
        ("  autoscaling: {min: 3, max: 2}\n", 7, "spec.autoscaling", "min is 3 and max 2"),
        ("  autoscaling: {min: 3}\n", 7, "spec.autoscaling.max", "is missing"),
        ("  placement: {spread: hosts}\n", 7, "spec.placement.spread", "'none', 'host' or 'zone'"),
        ("  secrets: [{name: A, source: {}}]\n", 7, "spec.secrets[0].source", "one of file"),
        (
            "  secrets:\n  - {name: A, valu: x, source: {file: x}}\n",
            8,
            "spec.secrets[0].valu",
            "known are",
        ),
        (
            "  environment: {A: x}\n  secrets: [{name: A, source: {file: x}}]\n",
            *(4, "spec", "A is set twice"),
        ),
        ("  access: {certificate: {file: a}}\n", 7, "spec.access", "both certificate and"),
        ("  target: Docker\n", 7, "spec.target", "stands here twice: first on line 6"),
        ("  probes: 3\n", 7, "spec.probes", "3 is no mapping"),
        ("  variant: p99\n", 7, "spec.variant", "that word asks for one"),
        ("  variant: a b\n", 7, "spec.variant", "is no name of a variant"),
    ],
)
def test_what_is_wrong_is_said_with_line_path_and_cure(text, line, path, words):
    (found,) = problems(HEAD + text)
    assert found.startswith(f"0.yaml:{line}:")
    assert f": {path}: " in found
    assert words in found


def test_a_form_is_named_once():
    (found,) = problems(HEAD.replace("@champion", "#int8") + "  variant: int8\n")
    assert "model and variant name a form each" in found
    (loaded,) = read(HEAD.replace("@champion", "@champion#int8")).of(Deployment)
    assert loaded.spec.model == "fraud@champion#int8"
    assert spec("  variant: int8-b.2\n").variant == "int8-b.2"


def test_all_problems_of_all_files_are_told_at_once():
    other = HEAD.replace("name: fraud", "name: Fraud").replace("fraud@champion", "fraud:1.2")
    found = problems(HEAD + "  replica: 2\n  probs: {}\n", other, "kind: Deploymint\n", "[1, 2]\n")
    assert [one.split(":")[:2] for one in found] == [
        *(["0.yaml", "7"], ["0.yaml", "8"], ["1.yaml", "3"], ["1.yaml", "5"]),
        *(["2.yaml", "1"], ["3.yaml", "1"]),
    ]
    assert "did you mean 'Deployment'?" in found[4]
    assert "a list, not a document" in found[5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no document in 0.yaml"),
        ("---\n---\n", "no document"),
        ("just words\n", "'just words', not a document"),
        ("a: 1\n", "no kind"),
        ("kind: [x]\n", "no kind"),
        ("a: [1\n", "no YAML"),
        ("a:\tb: c\n", "no YAML"),
        ("a: \x07\n", "no YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not allowed in a manifest"),
        ("a: !!int x\n", "is no value of the tag"),
        ("a: !!binary aGk=\n", "is no value of the tag"),
        ("? [a]\n: b\n", "a key is a word"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "nested deeper than 40"),
        ("a: " + "9" * 5000 + "\n", "is no value"),
        ("a: &a [*a]\n", "nested deeper than 40"),
        ("x" * (1 << 20) + "\n", "1,048,577 bytes"),
    ],
)
def test_what_is_no_manifest_is_refused(text, words):
    assert words in "\n".join(problems(text))


def test_an_alias_counts_as_often_as_it_is_used():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 12)]
    assert "more than 50,000 values" in problems("\n".join(levels) + "\n")[0]


def test_bytes_that_are_no_utf_8_are_pointed_at():
    with pytest.raises(ManifestError, match=r"m\.yaml:2:1: no UTF-8"):
        load([("m.yaml", b"kind: Route\nname: \xff\n")])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("no", "no"), ("on", "on"), ("y", "y"), ("12:30", "12:30"), ("010", 10), ("0o10", 8)),
        *(("0x1F", 31), ("1e3", 1000.0), (".5", 0.5), ("1_000", "1_000"), ("~", None)),
        *(
            ("2026-11-22", "2026-11-22"),
            ("1.10", 1.1),
            ("'1'", "1"),
            ("True", True),
            ("null", None),
        ),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written, value):
    from modelworks.protocol.manifest.tree import read as read_tree

    (document,) = read_tree(f"a: {written}\n".encode(), "f")
    found = document.values["a"]
    assert found == value
    assert type(found) is type(value)


def test_an_overlay_changes_what_it_names_in_its_environment_only():
    base = "  replicas: 2\n  environment: {A: a, B: b}\n  server: {workers: 2, threads: 3}\n"
    patch = (
        OVERLAY + "    replicas: 5\n    environment: {B: null, C: c}\n    server: {threads: 1}\n"
    )
    assert spec(base, patch).replicas == 2
    found = spec(base, patch, environment="production")
    assert found.replicas == 5
    assert found.environment == {"A": "a", "C": "c"}
    assert (found.server.workers, found.server.threads) == (2, 1)
    assert read(HEAD, patch).environments == ("production",)


def test_what_an_overlay_makes_wrong_is_pointed_at_in_the_overlay():
    (found,) = problems(HEAD, OVERLAY + "    replicas: many\n", environment="production")
    assert found.startswith("1.yaml:6:5: spec.replicas: 'many'")
    assert read(HEAD, OVERLAY + "    replicas: many\n")  # not put on: not looked at


@pytest.mark.parametrize(
    ("overlay", "environment", "words"),
    [
        (OVERLAY + "    replicas: 1\n", "prodution", "did you mean 'production'?"),
        ("", "production", "there is no overlay"),
        ((OVERLAY + "    replicas: 1\n").replace("name: fraud", "name: frod"), "", "'fraud'?"),
        ((OVERLAY + "    replicas: 1\n").replace("of:", "off:"), "", "did you mean 'of'?"),
        (OVERLAY.replace("  patch:", "  patch: 3"), "", "3 is no mapping"),
    ],
)
def test_an_overlay_of_nothing_is_refused(overlay, environment, words):
    assert words in "\n".join(problems(HEAD, overlay, environment=environment))


def test_a_name_stands_once_a_kind():
    (found,) = problems(HEAD, HEAD)
    assert "there is a Deployment 'fraud' already: 0.yaml:3:" in found
    assert len(read(HEAD, ROUTE.replace("name: front", "name: fraud")).documents) == 2


def test_a_route_shares_a_hundred_percent():
    (route,) = read(ROUTE).of(Route)
    assert [(b.deployment, b.weight) for b in route.spec.backends] == [
        ("fraud", 90),
        ("fraud-next", 10),
    ]
    assert "sum to 95, not 100" in problems(ROUTE.replace("90", "85"))[0]
    assert "stands twice" in problems(ROUTE.replace("fraud-next", "fraud"))[0]
    assert "answers already" in problems(ROUTE + "  mirror: {deployment: fraud}\n")[0]
    assert "one of header and cookie" in problems(ROUTE + "  sticky: {}\n")[0]
    misspelt = problems(HEAD, ROUTE.replace("fraud,", "frau,").replace("-next", ""))
    assert any("did you mean 'fraud'?" in one for one in misspelt)


GOOD = [
    HEAD + "  resources: {cpu: 500m, memory: 512Mi}\n",
    HEAD.replace("target: docker", "target: {type: kubernetes, settings: {namespace: ml}}"),
    HEAD + "  autoscaling: {max: 3}\n  secrets: [{name: A, source: {variable: B}}]\n",
    ROUTE,
    OVERLAY + "    replicas: 3\n",
]


def test_editors_have_a_schema_that_takes_what_is_taken():
    import yaml

    made = schema()
    assert jsonschema_rs.meta.is_valid(made)
    check = jsonschema_rs.validator_for(made)
    for text in GOOD:
        assert not list(check.iter_errors(yaml.safe_load(text)))
    for wrong in ("  replica: 2\n", "  replicas: two\n", "  slo: {p99_ms: 1}\n"):
        assert list(check.iter_errors(yaml.safe_load(HEAD + wrong)))
    assert list(check.iter_errors({"kind": "Deploymint"}))
    assert json.loads(json.dumps(made)) == made
    replicas = made["$defs"]["DeploymentSpec"]["properties"]["replicas"]
    assert "Copies" in replicas["description"]


def test_every_key_is_described():
    for name, one in schema()["$defs"].items():
        for key, found in one.get("properties", {}).items():
            assert found.get("description"), f"{name}.{key}"


PIECES = st.sampled_from(
    [
        *HEAD.splitlines(),
        *ROUTE.splitlines(),
        "---",
        "- a",
        "{",
        "}",
        "[",
        "&a",
        "*a",
        "!!x y",
        '"',
        "? ",
        "  :",
    ]
)


@examples(200)
@given(lines=st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=20))
def test_whatever_stands_there_it_is_read_or_refused(lines):
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    try:
        found = load([("f.yaml", text)])
    except ManifestError as error:
        assert error.problems
    else:
        assert found.documents
