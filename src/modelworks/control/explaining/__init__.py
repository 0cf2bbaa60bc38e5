"""Explains rows of a model: which explainer, from which background, and what is known already."""
