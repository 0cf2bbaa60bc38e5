"""Composition root of the model server: `python -m modelworks.apps.server`."""
