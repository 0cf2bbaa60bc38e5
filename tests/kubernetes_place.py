"""A namespace with our target in it, and another hand: for tests of the Kubernetes target."""

import contextlib

from kubernetes_server import NAMESPACE, serving
from kubernetes_specs import wanted
from modelworks.ext.targets.kubernetes import KubernetesTarget, kinds
from modelworks.ext.targets.kubernetes.cluster import Cluster
from modelworks.ext.targets.kubernetes.settings import read
from modelworks.testing.target_fields import spec_of

USUAL = {
    "serviceaccounts/fraud",
    "networkpolicies/fraud",
    "services/fraud",
    "deployments/fraud",
    "configmaps/modelworks.deployment.fraud",
}


class Place:
    """A namespace, our target in it, and another hand."""

    def __init__(self, settings, emulated=None):
        self.settings = settings
        self.opened = KubernetesTarget().open(settings, None)
        self.other = Cluster(read(settings))
        self.emulated = emulated

    def goal(self, said=None, **more):
        spec = spec_of("kubernetes", said or {})
        return wanted(spec, **more)

    def get(self, kind, name="fraud"):
        return self.other.get(kinds.BY_NAME[kind], name)

    def names(self):
        """`plural/name` of what has our label."""
        every = [*kinds.OWN, kinds.CONFIG_MAP]
        return {
            f"{kind.plural}/{one['metadata']['name']}"
            for kind in every
            for one in self.other.list(kind, labelSelector="modelworks.deployment=fraud")
        }

    def disturb(self, kind, spec, name="fraud"):
        """Somebody says something else of the same fields."""
        api = kinds.BY_NAME[kind].api
        head = {"name": name, "namespace": self.settings["namespace"]}
        said = {"apiVersion": api, "kind": kind, "metadata": head, "spec": spec}
        self.other.apply(said, force=True, manager="kubectl")

    def remove(self, kind, name="fraud"):
        self.other.delete(self.get(kind, name))


@contextlib.contextmanager
def emulated_place(folder):
    with serving(folder) as (cluster, file):
        yield Place({"kubeconfig": str(file), "namespace": NAMESPACE}, cluster)
