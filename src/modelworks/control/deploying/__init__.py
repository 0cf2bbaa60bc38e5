"""From a manifest to running models: plan, apply, look, heal. What crosses rooms stands here."""
