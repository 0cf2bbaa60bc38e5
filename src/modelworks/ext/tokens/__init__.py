"""Checks of signatures that stand in the way of tokens."""
