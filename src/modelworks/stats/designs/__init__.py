"""Tests that are planned: a few looks at known times, how many rows they take, and how long."""
