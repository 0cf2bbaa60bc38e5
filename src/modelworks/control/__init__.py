"""Use cases that cross features: publish, serve, watch."""
