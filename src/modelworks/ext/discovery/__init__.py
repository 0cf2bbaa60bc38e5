"""Directories that endpoints are found in by name; fulfil `core.discovery.Finder`."""
