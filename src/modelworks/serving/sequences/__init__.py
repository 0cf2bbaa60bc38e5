"""Recurrent models: what they remember of each sequence. See docs/sequences.md."""
