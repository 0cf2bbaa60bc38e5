"""Loaders: each opens models of one framework, in a process of the model's own."""
