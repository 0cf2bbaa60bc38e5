"""Bundled targets: places where deployments run."""
