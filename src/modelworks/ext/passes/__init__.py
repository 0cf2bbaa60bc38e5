"""Passes: each turns one form of a model into another."""
