"""Bundled steps: the composer of ONNX graphs, and what no graph does."""
