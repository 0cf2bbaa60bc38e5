"""From a manifest to desired state, and from desired state to what a target has to do."""
