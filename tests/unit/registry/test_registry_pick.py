"""Which form is meant: by name, by goal, for this hardware; and why."""

from dataclasses import replace

import pytest

from modelworks.core.errors import NotFoundError, UnsupportedError
from modelworks.core.model import Artifact, Lineage, ModelVersion
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Objective
from modelworks.core.optimizing.wanted import GOALS
from modelworks.core.semver import Semver
from modelworks.registry.pick import gain, pick
from modelworks.testing.candidates import measured, signature, variant

pytestmark = pytest.mark.unit

HERE = "x86-64 avx2"
VERSION = ModelVersion(
    "default",
    "fraud",
    Semver(1, 0, 0),
    Artifact("sha256:" + "0" * 64, "onnx", 1000, ()),
    signature(),
    Lineage(),
    (),
    0,
)


def form(name, p99=300.0, wall=800.0, size=1000, kind=HERE, engine="onnxruntime", **more):
    measurement = measured(kind, p99, wall, size)
    recipe = Recipe((), Execution(engine))
    source = measured(kind, 300.0, 800.0, 1000)
    told = {"recipe": recipe, "measurement": measurement, "source": source}
    return variant(VERSION, name, **(told | more))


def nothing(_engine):
    return ""


def chosen(variants, want, hardware=HERE, missing=nothing):
    found = pick(variants, want, hardware, missing).variant
    return found.name if found else None


FORMS = [
    form("quick", p99=100.0, wall=700.0, size=900),
    form("wide", p99=200.0, wall=200.0, size=800),
    form("small", p99=290.0, wall=790.0, size=100),
]


@pytest.mark.parametrize(
    ("want", "name"),
    [
        ("source", None),
        ("fastest", "quick"),
        ("throughput", "wide"),
        ("smallest", "small"),
        ("memory", "small"),
        ("energy", None),
        ("wide", "wide"),
    ],
)
def test_each_goal_has_its_form(want, name):
    assert chosen(FORMS, want) == name


def test_what_costs_least_is_what_takes_the_least_cpu_time():
    times = FORMS[0].measurement.times
    cheap = replace(times[1], ratio=3.0)
    one = replace(FORMS[0], measurement=replace(FORMS[0].measurement, times=(times[0], cheap)))
    assert chosen([*FORMS, replace(one, name="cheap")], "cost") == "cheap"


def test_energy_counts_where_both_were_measured():
    own, source = measured(HERE), measured(HERE)
    told = form("cool", measurement=replace(own, energy_j=0.1), source=replace(source, energy_j=2))
    half = form("half", measurement=replace(own, energy_j=0.001))
    assert gain(half, Objective.ENERGY) is None
    assert chosen([told, half], "energy") == "cool"


@pytest.mark.parametrize("goal", sorted(GOALS))
def test_where_nothing_is_better_the_source_form_stays_and_it_is_said(goal):
    found = pick([form("same", p99=300.0), form("worse", p99=900.0)], goal, HERE, nothing)
    assert found.variant is None
    assert "no variant that fits betters" in found.why


def test_a_variant_gains_against_its_own_run_only():
    """A figure of a calm machine is not held against one of a busy day."""
    calm = form("calm", p99=90.0, source=measured(HERE, 100.0))
    busy = form("busy", p99=300.0, source=measured(HERE, 900.0))
    assert chosen([calm, busy], "fastest") == "busy"


def test_equal_gains_are_told_apart_by_size_and_name():
    twins = [form("b", p99=100.0), form("a", p99=100.0)]
    assert chosen(twins, "fastest") == "a"
    light = replace(twins[0], artifact=replace(VERSION.artifact, size=10))
    assert chosen([light, twins[1]], "fastest") == "b"


def test_other_hardware_is_passed_over_or_refused_by_name():
    forms = [form("arm", p99=10.0, kind="arm64 dotprod"), form("here", p99=200.0)]
    assert chosen(forms, "fastest") == "here"
    assert chosen(forms, "fastest", None) == "arm"  # it is not known where it will run
    found = pick(forms[:1], "fastest", HERE, nothing)
    assert found.variant is None
    assert "measured on 'arm64 dotprod', and this is 'x86-64 avx2'" in found.why
    with pytest.raises(UnsupportedError, match="'arm64 dotprod', and this is"):
        pick(forms, "arm", HERE, nothing)


def test_an_engine_that_is_not_there_is_passed_over_or_refused_by_name():
    forms = [form("vino", p99=10.0, engine="openvino"), form("here", p99=200.0)]

    def missing(engine):
        return "" if engine == "onnxruntime" else f"{engine} is not installed"

    assert chosen(forms, "fastest", HERE, missing) == "here"
    assert "openvino is not installed" in pick(forms[:1], "smallest", HERE, missing).why
    with pytest.raises(UnsupportedError, match="openvino is not installed"):
        pick(forms, "vino", HERE, missing)


def test_without_variants_the_source_form_and_without_the_name_an_error():
    assert "has no variants" in pick([], "fastest", HERE, nothing).why
    with pytest.raises(NotFoundError, match="no variant 'int4'; there are: quick, wide, small"):
        pick(FORMS, "int4", HERE, nothing)


def test_other_batches_than_the_sources_say_nothing():
    odd = form("odd", source=replace(measured(HERE), times=()))
    assert gain(odd, Objective.P99) is None
    assert chosen([odd], "fastest") is None
