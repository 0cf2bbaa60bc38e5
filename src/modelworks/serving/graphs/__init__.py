"""Graphs of models: every step waits in its model's own queue, with everybody else."""
