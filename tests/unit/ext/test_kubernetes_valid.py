"""Every object for Kubernetes is valid in every version, whatever a manifest says."""

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubernetes_schemas import BROUGHT, VERSIONS, needs_crds, problems
from kubernetes_specs import routes, specs, wanted, wishes
from modelworks.ext.targets.kubernetes.capabilities import FIELDS
from modelworks.ext.targets.kubernetes.objects import routes as routing
from modelworks.ext.targets.kubernetes.objects.whole import files, objects
from modelworks.ext.targets.kubernetes.settings import Settings, read
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.leaves import leaves
from modelworks.testing.target_fields import spec_of
from properties import examples

LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


def heads(found):
    return [
        found["metadata"],
        *(found["spec"][key]["metadata"] for key in {"template"} & {*found.get("spec", {})}),
    ]


@given(wish=wishes())
@examples(25)
def test_every_object_is_valid_in_every_version(wish):
    settings = read(wish.shares[0].revision.spec["target"]["settings"])
    found = objects(wish, settings)
    for one in found:
        if one["apiVersion"].partition("/")[0] in BROUGHT:
            continue
        for version in VERSIONS:
            assert problems(one, version) == []
        for head in heads(one):
            assert all(LABEL.fullmatch(value) for value in head["labels"].values())
    texts = {one.path: one.text for one in files(found)}
    assert [yaml.safe_load(texts[f"{one['kind'].lower()}.yaml"]) for one in found] == found


@given(wish=wishes())
@examples(25)
def test_every_custom_object_is_valid(wish):
    needs_crds()
    settings = read(wish.shares[0].revision.spec["target"]["settings"])
    for one in objects(wish, settings):
        if one["apiVersion"].partition("/")[0] in BROUGHT:
            assert problems(one, "") == []


@given(route=routes(), router=st.sampled_from(["gateway", "istio"]))
@examples(30)
def test_every_route_is_valid(route, router):
    needs_crds()
    settings = read({"routing": router, "gateway": "edge/outer"})
    [found] = routing.objects(route, settings)
    assert problems(found, "") == []


def test_the_schemas_refuse_what_is_wrong():
    needs_crds()
    [found] = [
        one
        for one in objects(wanted(spec_of("kubernetes", {})), Settings())
        if one["kind"] == "Deployment"
    ]
    found["spec"]["replcas"] = 1
    assert problems(found, "1.25")
    settings = {"keda": "true", "prometheus": "http://p", "service_monitor": "true"}
    said = {"autoscaling": {"max": 3, "metric": "requests"}}
    found = objects(wanted(spec_of("kubernetes", said)), read(settings))
    [scaled] = [one for one in found if one["kind"] == "ScaledObject"]
    scaled["spec"]["minReplicas"] = 1
    assert problems(scaled, "")


@given(spec=specs())
@examples(15)
def test_what_is_made_up_here_is_not_refused(spec):
    for leaf in leaves(DeploymentSpec, spec):
        can = FIELDS.get(leaf.field)
        if can is not None and not leaf.plain and can.refuses is not None:
            assert can.refuses(leaf.value, spec) == "", leaf
