"""The web console; uses only the public API."""
