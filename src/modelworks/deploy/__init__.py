"""From a manifest to what runs: answers, desired and observed state, one step at a time."""
