"""Optimizing a version: its artifact laid out, the search, what it kept put into the registry."""
