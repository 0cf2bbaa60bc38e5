"""The manifest: what is wanted, in files that people write."""

from modelworks.deploy.manifest.deployment import Deployment
from modelworks.deploy.manifest.load import KINDS, Loaded, Manifest, load
from modelworks.deploy.manifest.problems import ManifestError, Mark, Problem
from modelworks.deploy.manifest.route import Route
from modelworks.deploy.manifest.schema import schema

__all__ = [
    "KINDS",
    "Deployment",
    "Loaded",
    "Manifest",
    "ManifestError",
    "Mark",
    "Problem",
    "Route",
    "load",
    "schema",
]
