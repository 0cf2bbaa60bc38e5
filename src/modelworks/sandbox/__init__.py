"""Runs code that may be hostile or may crash: processes with limits and no network."""
