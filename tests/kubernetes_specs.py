"""Whole manifests for Kubernetes, as hypothesis makes them up: any field, any value."""

from hypothesis import strategies as st

from modelworks.core.deployment import Revision, Share, Wanted, WantedRoute
from modelworks.core.served import ServedModel
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.route import RouteSpec

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example.com/models/fraud@{DIGEST}"
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
_SIGNS = st.text("$()A_yesno1e:0x-~.{}'\"# ", max_size=12)
_VARIABLES = st.sampled_from(["LANG", "_x", "TZ", "HTTPS_PROXY", "no"])
_LABELS = st.dictionaries(
    st.sampled_from(["team", "example.com/tier", "app.kubernetes.io/part-of"]),
    st.sampled_from(["", "true", "1e3", "a_b.C-9"]),
    max_size=3,
)
_SOURCES = st.builds(
    lambda secret, key: {"secret": secret, "key": key},
    st.sampled_from(["fraud", "fraud.v2", "0"]),
    st.sampled_from(["", "tls.crt", "KEY_2"]),
)
_MILLI = st.integers(1, 64_000).map(lambda number: number / 1000)
SETTINGS = st.fixed_dictionaries(
    {"namespace": st.sampled_from(["default", "models"])},
    optional={
        "pull_secret": st.just("registry"),
        "gpu_resource": st.just("amd.com/gpu"),
        "network_policy": st.sampled_from(["true", "false"]),
        "egress": st.sampled_from(["true", "false"]),
    },
)
BROUGHT = {
    "keda": "true",
    "prometheus": "http://prometheus.monitoring:9090",
    "service_monitor": "true",
}


@st.composite
def specs(draw, settings=None):
    """A spec as people may write it, and the settings in it."""
    found = {**(draw(SETTINGS) if settings is None else settings)}
    scaled = draw(st.booleans())
    metric = draw(st.sampled_from(["cpu", "concurrency", "requests"]))
    if scaled and metric != "cpu":
        found |= BROUGHT
    names = draw(st.lists(st.sampled_from(["TOKEN", "PASSWORD", "_y"]), unique=True, max_size=3))
    access = {
        "port": draw(st.integers(1, 65_535)),
        "expose": draw(st.sampled_from(["host", "public"])),
    }
    if draw(st.booleans()):
        access |= {"certificate": draw(_SOURCES), "private_key": draw(_SOURCES)}
    if draw(st.booleans()):
        access["keys"] = draw(_SOURCES)
    cpu = draw(_MILLI)
    said = {
        "model": "fraud:1.0.0",
        "target": {"type": "kubernetes", "settings": found},
        "image": {"pull": draw(st.sampled_from(["missing", "always", "never"]))},
        "resources": {
            "cpu": cpu,
            "cpu_limit": draw(st.sampled_from([None, cpu, cpu + 1])),
            "memory": draw(st.integers(2**20, 2**50)),
            "gpu": draw(st.integers(0, 16)),
        },
        "server": {
            "workers": draw(st.integers(1, 256)),
            "isolation": draw(st.sampled_from(["thread", "process"])),
        },
        "batching": {"max_delay_ms": draw(st.floats(0, 60_000))},
        "environment": draw(st.dictionaries(_VARIABLES, _TEXT | _SIGNS, max_size=4)),
        "secrets": [
            {"name": name, "source": draw(_SOURCES), "mount": draw(st.booleans())} for name in names
        ],
        "probes": {
            "startup_timeout_s": draw(st.integers(1, 3600)),
            "period_s": draw(st.integers(1, 300)),
            "timeout_s": draw(st.integers(1, 60)),
            "failures": draw(st.integers(1, 20)),
        },
        "strategy": {
            "max_surge": draw(st.integers(1, 100)),
            "drain_s": draw(st.integers(0, 3600)),
            "ready_timeout_s": draw(st.integers(1, 7200)),
            "keep_revisions": draw(st.integers(1, 100)),
        },
        "placement": {
            "node_labels": draw(_LABELS),
            "spread": draw(st.sampled_from(["none", "host", "zone"])),
        },
        "access": access,
        "monitoring": {"metrics": scaled or draw(st.booleans())},
    }
    if scaled:
        least = draw(st.integers(1, 1000))
        said["autoscaling"] = {
            "min": least,
            "max": draw(st.integers(least, 1000)),
            "metric": metric,
            "goal": float(draw(st.integers(1, 1_000_000))),
            "scale_down_after_s": draw(st.integers(0, 3600)),
        }
    else:
        said["replicas"] = draw(st.integers(0, 1000))
    return DeploymentSpec.model_validate(said).model_dump(mode="json")


def wanted(spec, *, name="fraud", number=1, replicas=None, labels=None, description=""):
    """One revision with this spec."""
    model = ServedModel(
        "fraud" + "-of-cards" * 8, "1.0.0", "/srv/fraud/model.onnx", "sha256:" + "0" * 64
    )
    revision = Revision(name, number, spec, model, IMAGE)
    return Wanted(
        name,
        (Share(revision, spec["replicas"] if replicas is None else replicas),),
        labels=labels or {},
        description=description,
        autoscaling=spec["autoscaling"],
        strategy=spec["strategy"],
    )


@st.composite
def wishes(draw):
    """Whatever may be wanted of the target."""
    return wanted(
        draw(specs()),
        number=draw(st.integers(1, 10_000)),
        labels=draw(_LABELS),
        description=draw(_TEXT),
    )


@st.composite
def routes(draw):
    """Any route between three deployments."""
    said = {
        "host": draw(st.sampled_from(["", "fraud.example.com", "*.example.com", "a"])),
        "path": draw(st.sampled_from(["/", "/fraud", "/a/b.c/~d"])),
        "backends": draw(
            st.sampled_from([[("a", 100)], [("a", 90), ("b", 10)], [("a", 0), ("b", 100)]])
        ),
        "mirror": draw(st.none() | st.builds(lambda n: ("c", n), st.integers(1, 100))),
        "sticky": draw(st.sampled_from([None, {"cookie": "user"}, {"cookie": "A_b-9"}])),
        "timeout_s": draw(st.none() | st.integers(1, 3_600_000).map(lambda number: number / 1000)),
    }
    said["backends"] = [{"deployment": name, "weight": weight} for name, weight in said["backends"]]
    if said["mirror"]:
        name, percent = said["mirror"]
        said["mirror"] = {"deployment": name, "percent": percent}
    spec = RouteSpec.model_validate(said).model_dump(mode="json")
    ports = {name: draw(st.integers(1, 65_535)) for name in "abc"}
    return WantedRoute("fraud", spec, ports, draw(_LABELS), draw(_TEXT))
