"""The API against its own description: generated requests, good and bad, never a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from modelworks.api.app import create_app
from modelworks.api.front import Waiters
from modelworks.api.uploads import Limits
from modelworks.control.endpoints import Watch
from modelworks.control.front.sources import Reach
from modelworks.control.service import Factory
from modelworks.core.semver import Semver
from modelworks.protocol.manifest.rollout_plan import load_rollouts, planned
from modelworks.testing.candidates import candidate

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(300),
    # starlette's test client, which schemathesis drives, prefers a successor of the httpx we pin
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`"),
]

HEADERS = {"Host": "127.0.0.1"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


WITHOUT_INPUT = ["health", "models", "collect", "endpoints"]
WITH_INPUT = [
    "versions",
    "show",
    "file",
    "compare",
    "set_alias",
    "remove_alias",
    "history",
    "alias_at",
    "annotate",
    "verify",
    "delete",
    "import_model",
    "feedback",
    "series",
    "watch",
    "rollouts",
    "rollout",
    "rollout_history",
    "rollout_report",
    "start_rollout",
    "pause_rollout",
    "resume_rollout",
    "promote_rollout",
    "abort_rollout",
    "why_not",
    "routes_snapshot",
    "variants",
]
MANIFEST = """
apiVersion: modelworks/v1
kind: Rollout
metadata: {name: NAME}
spec:
  route: NAME
  stable: 1.0.0
  candidate: 1.0.1
  steps: [{share: 20%}, {share: 100%}]
  primary: {metric: error_rate, margin: 5pp}
"""


@pytest.fixture
def described(home, tmp_path, request):
    with Factory(home) as factory:
        for _ in range(2):
            factory.publish(candidate(tmp_path / "work", alias="champion"))
        factory.publish(candidate(tmp_path / "work", name="churn"))
        if "rollout" in request.node.name:
            roll_out(factory, tmp_path)
        watch = Watch(factory.home)
        front = factory.front(home.run / "served.json", Reach())
        front.tick()
        told = (front, Waiters())
        app = create_app(factory, watch, limits=Limits(upload_bytes=1 << 20), front=told)
        loaded = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=HEADERS)
        loaded.config.update(base_url="http://127.0.0.1")
        yield loaded
        watch.close()
        front.close()
        for model in factory.models():
            assert factory.verify(model.name).ok


def roll_out(factory, folder):
    """Roll-outs `loan`, which waits, and `rate`, which is paused; the model `late` has none."""
    for name in ("loan", "rate", "late"):
        for version in ("1.0.0", "1.0.1"):
            content = f"{name} {version}".encode()
            made = candidate(folder / name, content, name, version=Semver.parse(version))
            factory.publish(made)
        factory.set_alias(name, "champion", "1.0.0")
    for name in ("loan", "rate"):
        (document,) = load_rollouts([("m", manifest(name))]).documents
        factory.rollouts.start(planned(document.document).plan)
    factory.rollouts.pause("rate")


def manifest(name):
    return MANIFEST.replace("NAME", name).encode()


def operation(described, name):
    return next(
        found.ok()
        for found in described.get_all_operations()
        if found.ok().definition.raw["operationId"] == name
    )


def run(described, name, mode):
    """Generated requests to one operation; the statuses that came back."""
    statuses = []

    @settings(
        max_examples=8 if name == "import_model" else 15,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation(described, name).as_strategy(generation_mode=mode),
        ref=st.sampled_from(["fraud", "fraud@champion", "churn:1.0.0"]),
        known=st.booleans(),
    )
    def check(case, ref, known):
        if known and mode is GenerationMode.POSITIVE:
            point_at(case, ref)
        statuses.append(case.call_and_validate(checks=CHECKS, headers=HEADERS).status_code)

    check()
    return statuses


def point_at(case, ref):
    """Let a well-formed request be about what is there: names alone are hardly ever guessed."""
    there = {"name": "fraud", "alias": "champion", "ref": ref, "left": ref, "right": "fraud"}
    there |= {"path": "model.onnx", "version": "1.0.0"}
    for values in (case.path_parameters, case.query):
        values.update({key: there[key] for key in values.keys() & there.keys()})
    if "/rollouts/" in case.path:
        paused = case.path.endswith(("/resume", "/promote"))
        case.path_parameters["name"] = "rate" if paused else "loan"
    if case.path.endswith("/promote"):
        case.body = {"arm": "1.0.1"}
    if case.path.endswith("/rollouts") and case.method == "POST":
        case.body = {"manifest": manifest("late").decode()}
    if case.path.endswith("/at"):
        case.query = {"at": "2100-01-01"}
    if case.path.endswith("/feedback"):
        case.body = {"model": "fraud", "prediction": "p", "truth": 1}
    elif isinstance(case.body, dict) and "version" in case.body and "file" not in case.body:
        case.body = {"version": "1.0.0"}


@pytest.mark.parametrize("name", WITH_INPUT + WITHOUT_INPUT)
def test_well_formed_requests(described, name):
    statuses = run(described, name, GenerationMode.POSITIVE)
    if name != "import_model":  # no model file is ever guessed
        assert any(status in {200, 201, 202, 204} for status in statuses)


@pytest.mark.parametrize("name", WITH_INPUT)
def test_malformed_requests(described, name):
    """Each is refused, but where its text happens to be well formed (a reason of `0`)."""
    statuses = run(described, name, GenerationMode.NEGATIVE)
    assert sum(400 <= status < 500 for status in statuses) > len(statuses) / 2


def test_no_operation_is_left_out(described):
    found = {o.ok().definition.raw["operationId"] for o in described.get_all_operations()}
    assert found == {*WITH_INPUT, *WITHOUT_INPUT}
