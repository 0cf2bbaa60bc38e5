"""Engines: one module a runtime."""
