"""The model server: load, batch, infer; the hot path."""
