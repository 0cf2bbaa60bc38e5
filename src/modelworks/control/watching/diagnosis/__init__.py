"""What changed when a model went wrong: hypotheses, each with its evidence and a score."""
