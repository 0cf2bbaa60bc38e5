"""Compares predictions: parity of a source model and its conversion."""
