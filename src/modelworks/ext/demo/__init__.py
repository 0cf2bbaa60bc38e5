"""Trains the small models of `modelworks demo`, in a process of its own."""
