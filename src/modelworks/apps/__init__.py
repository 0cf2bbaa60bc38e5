"""Composition roots: one small module a process, each with its settings."""
