"""Two values of every field of a deployment's spec, for the suite of targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from modelworks.core.deployment import HOUSE, Revision
from modelworks.core.records import Act
from modelworks.core.served import ServedModel
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import fields

FIELDS: Final = tuple(field for field in fields(DeploymentSpec) if field not in HOUSE)
"""What a capability table has, in the manifest's order."""
REPOSITORY: Final = "registry.example.com/models/fraud"
DIGEST: Final = "sha256:" + "ab" * 32
_SOURCES: Final = ("secrets[].source", "access.keys", "access.certificate", "access.private_key")
_LIKELY: Final = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
_VARIABLE: Final = st.sampled_from(["TOKEN", "PASSWORD", "LICENCE", "_x1"])
_LABELS: Final = st.dictionaries(
    st.sampled_from(["team", "example.com/tier", "disk"]), st.sampled_from(["", "risk", "a_b.C-9"])
)
_FIELD: Final = st.sampled_from(["income", "header:X-Customer", "name of it"])
_QUARTERS: Final = st.integers(1, 32).map(lambda number: number / 4)
_VALUES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "image.repository": st.sampled_from([REPOSITORY, "localhost:5000/fraud", "example.com/a/b"]),
    "image.digest": st.sampled_from(["a", "5", "0"]).map(lambda digit: "sha256:" + digit * 64),
    "image.pull": st.sampled_from(["missing", "always", "never"]),
    "replicas": st.integers(0, 20),
    "autoscaling.min": st.integers(0, 3),
    "autoscaling.max": st.integers(4, 20),
    "autoscaling.metric": st.sampled_from(["cpu", "concurrency", "requests"]),
    "autoscaling.goal": st.integers(10, 90).map(float),
    "autoscaling.scale_down_after_s": st.integers(0, 600),
    "resources.cpu": _QUARTERS,
    "resources.cpu_limit": _QUARTERS.map(lambda cores: cores + 1),
    "resources.memory": st.integers(16, 8192).map(lambda size: size << 20),
    "resources.gpu": st.integers(0, 4),
    "server.workers": st.integers(1, 16),
    "server.threads": st.integers(1, 16),
    "server.isolation": st.sampled_from(["thread", "process"]),
    "server.instances[].device": st.sampled_from(["cpu", "cuda:0", "cuda:1", "gpu"]),
    "server.instances[].count": st.integers(1, 8),
    "batching.max_batch_size": st.integers(1, 1024),
    "batching.max_queue_size": st.integers(1, 10_000),
    "batching.max_delay_ms": st.integers(0, 100).map(float),
    "batching.priority_levels": st.integers(1, 8),
    "batching.timeout_ms": st.integers(0, 10_000).map(float),
    "batching.latency_goal_ms": st.integers(0, 1_000).map(float),
    "cache.max_bytes": st.integers(1, 64).map(lambda size: size << 20),
    "cache.ttl_s": st.integers(1, 3600).map(float),
    "cache.backend": st.sampled_from(["process", "redis://cache:6379/1", "rediss://cache"]),
    "cache.timeout_ms": st.integers(1, 1000).map(float),
    "sequences.state[].input": st.sampled_from(["h", "c", "state in"]),
    "sequences.state[].output": st.sampled_from(["h_out", "c_out"]),
    "sequences.state[].initial": st.sampled_from(["zeros", "begin.npy"]),
    "sequences.state[].axis": st.integers(0, 2),
    "sequences.idle_s": st.integers(1, 3600).map(float),
    "sequences.max": st.integers(1, 10_000),
    "sequences.max_bytes": st.integers(1, 64).map(lambda size: size << 20),
    "sequences.drain_s": st.integers(0, 25).map(float),
    "environment": st.dictionaries(st.sampled_from(["LANG", "TZ", "HTTPS_PROXY"]), _LIKELY),
    "secrets[].name": _VARIABLE,
    "secrets[].mount": st.booleans(),
    "probes.startup_timeout_s": st.integers(1, 600),
    "probes.period_s": st.integers(1, 60),
    "probes.timeout_s": st.integers(1, 30),
    "probes.failures": st.integers(1, 10),
    "strategy.max_surge": st.integers(1, 10),
    "strategy.drain_s": st.integers(0, 600),
    "placement.node_labels": _LABELS,
    "placement.spread": st.sampled_from(["none", "host", "zone"]),
    "access.port": st.integers(1024, 60_000),
    "access.expose": st.sampled_from(["host", "public"]),
    "monitoring.metrics": st.booleans(),
    "monitoring.access_log": st.booleans(),
    "monitoring.records.sample": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    "monitoring.records.inputs": st.booleans(),
    "monitoring.records.outputs": st.booleans(),
    "monitoring.records.fields[].field": _FIELD,
    "monitoring.records.fields[].act": st.sampled_from(list(Act)).map(str),
    "monitoring.records.detect_pii": st.booleans(),
    "monitoring.records.key": _FIELD,
    "monitoring.records.subject": _FIELD,
    "monitoring.records.max_bytes": st.integers(0, 1 << 20),
    "monitoring.records.retention_days": st.integers(0, 400),
    **{f"{source}.file": st.sampled_from(["/etc/one", "/etc/a b"]) for source in _SOURCES},
    **{f"{source}.variable": _VARIABLE for source in _SOURCES},
    **{f"{source}.secret": st.sampled_from(["fraud", "fraud.v2", "a"]) for source in _SOURCES},
    **{f"{source}.key": st.sampled_from(["", "tls.crt", "KEY_2"]) for source in _SOURCES},
}
_BASES: Final[Mapping[str, Mapping[str, Any]]] = {
    "image.digest": {"image": {"repository": REPOSITORY}},
    "autoscaling": {"autoscaling": {"max": 3}},
    "cache": {"cache": {"ttl_s": 60.0}},
    "sequences": {"sequences": {"state": [{"input": "h", "output": "h_out"}]}},
    "secrets[]": {"secrets": [{"name": "TOKEN", "source": {"file": "/etc/token"}}]},
    "access.certificate": {"access": {"private_key": {"file": "/etc/key"}}},
    "access.private_key": {"access": {"certificate": {"file": "/etc/certificate"}}},
    "resources.cpu_limit": {"resources": {"cpu": 0.25}},
    "monitoring.records.fields": {
        "monitoring": {"records": {"sample": 0.5, "fields": [{"field": "age", "act": "drop"}]}}
    },
    "monitoring.records": {"monitoring": {"records": {"sample": 0.5}}},
}
"""What else a document has to say so that a field (or those under it) can be said."""


@dataclass(frozen=True)
class Pair:
    """Two documents that differ in one field; JSON, every default written out."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@st.composite
def pairs(draw: st.DrawFn, field: str, kind: str, common: Mapping[str, Any]) -> Pair:
    """Two specs of a deployment on a target.

    Args:
        draw: given by hypothesis.
        field: in which they differ; one of `FIELDS`.
        kind: name of the target.
        common: what every document of this target has to say.
    """
    one = draw(_VALUES[field])
    other = draw(_VALUES[field].filter(lambda value: value != one))
    return Pair(*(spec_of(kind, _with(common, field, value)) for value in (one, other)))


def spec_of(kind: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as a revision has it: checked, and every default written out."""
    whole = {"model": "fraud:1.0.0", "target": kind, **said}
    return DeploymentSpec.model_validate(whole).model_dump(mode="json")


def revision_of(spec: Mapping[str, Any], *, images: bool, number: int = 1) -> Revision:
    """A revision of it whose `digest` is always the same: what it says must be in the objects."""
    said = spec["image"]
    image = f"{said['repository'] or REPOSITORY}@{said['digest'] or DIGEST}" if images else ""
    model = ServedModel("fraud", "1.0.0", "/srv/models/fraud/model.onnx", "sha256:" + "0" * 64)
    return _Undigested("fraud", number, spec, model, image)


class _Undigested(Revision):
    """With one digest, whatever it says."""

    __slots__ = ()

    @property
    def digest(self) -> str:
        return "0" * 16


def _with(common: Mapping[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A document that says `value` in `field`."""
    base = next((base for place, base in _BASES.items() if field.startswith(place)), {})
    said = _merged(common, base)
    *way, last = field.split(".")
    at: Any = said
    for name in way:
        place = name.removesuffix("[]")
        empty: Any = [{}] if name.endswith("[]") else {}
        below = _changeable(at.get(place) or empty)
        at[place] = below
        at = below[0] if name.endswith("[]") else below
    if way and f"{'.'.join(way)}" in _SOURCES:  # one of file, variable and secret
        at.clear()
        if last == "key":
            at["secret"] = "fraud"  # noqa: S105 - the name of one
    at[last] = value
    return said


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        here = merged.get(key)
        both = isinstance(here, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(here, value) if both else value  # type: ignore[arg-type]
    return merged


def _changeable(value: Any) -> Any:
    if isinstance(value, list):
        return [dict(member) for member in value]
    return dict(value)
