"""Pipelines for CI systems, and what fills their few holes."""
