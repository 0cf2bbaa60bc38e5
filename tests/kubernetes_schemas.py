"""Objects of Kubernetes held against the schemas of its versions, and of what others bring.

Schemas of custom resources lie in `../shared/schemas/crd`, or where MODELWORKS_CRD_SCHEMAS says.
"""

import functools
import json
import os
from pathlib import Path

import jsonschema_rs
import kubernetes_validate.utils as shipped
import pytest

VERSIONS = ("1.25", "1.31", shipped.latest_version())
BROUGHT = ("keda.sh", "monitoring.coreos.com", "gateway.networking.k8s.io", "networking.istio.io")
_SHARED = Path(__file__).parents[2] / "shared/schemas/crd"


@functools.cache
def crd_folder():
    """Where custom resources' schemas lie; None = nowhere, and the caller's test is skipped."""
    said = os.environ.get("MODELWORKS_CRD_SCHEMAS")
    folder = Path(said) if said else _SHARED
    if folder.is_dir():
        return folder
    if said:
        pytest.fail(f"MODELWORKS_CRD_SCHEMAS is {said}, and no folder is there")
    return None


def needs_crds():
    """Skip where custom resources have no schemas."""
    if crd_folder() is None:
        pytest.skip("needs schemas of custom resources: set MODELWORKS_CRD_SCHEMAS")


@functools.cache
def _strict(folder, name):
    text = shipped.schema_contents(f"kubernetes-json-schema/{folder}/{name}.json", folder)
    whole = shipped.schema_contents(f"kubernetes-json-schema/{folder}/_definitions.json", folder)
    registry = jsonschema_rs.Registry([("_definitions.json", whole)])
    return jsonschema_rs.validator_for(text, registry=registry, base_uri="json:///")


@functools.cache
def _custom(group, version, kind):
    file = crd_folder() / f"{group}_{kind.lower()}_{version}.json"
    return jsonschema_rs.validator_for(json.loads(file.read_text()))


def problems(found, minor):
    """What a version of Kubernetes has against an object; lines, empty = nothing."""
    api, kind = found["apiVersion"], found["kind"]
    group, _, version = api.rpartition("/")
    if group in BROUGHT:
        validator = _custom(group, version, kind)
    else:
        short = f"{group.split('.')[0]}-{version}" if group else version
        full = [one for one in shipped.all_versions() if one.startswith(f"{minor}.")]
        folder = f"v{full[0] if full else minor}-local-strict"
        validator = _strict(folder, f"{kind.lower()}-{short}")
    return [
        f"{kind} {minor}: {'.'.join(map(str, error.instance_path))}: {error.message}"
        for error in validator.iter_errors(found)
    ]
