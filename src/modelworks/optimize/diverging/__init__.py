"""Follows two forms of a version value by value, to the first place where they part."""
