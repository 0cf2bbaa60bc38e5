"""The manifest: what is wanted, in files that people write."""

from modelworks.protocol.manifest.deployment import Deployment
from modelworks.protocol.manifest.load import KINDS, Loaded, Manifest, load
from modelworks.protocol.manifest.problems import ManifestError, Mark, Problem
from modelworks.protocol.manifest.route import Route
from modelworks.protocol.manifest.schema import schema

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
