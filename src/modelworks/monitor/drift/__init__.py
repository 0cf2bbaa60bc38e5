"""Drift: a window of data against a reference, feature by feature and all together."""
