"""Kubernetes: deployments as objects of a cluster, by server-side apply."""

from modelworks.ext.targets.kubernetes.target import KubernetesTarget

__all__ = ["KubernetesTarget"]
