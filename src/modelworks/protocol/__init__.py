"""Bytes to tensors and back, one module a wire format; no I/O."""
