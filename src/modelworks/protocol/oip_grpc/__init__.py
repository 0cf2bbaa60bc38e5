"""Open Inference Protocol v2 over gRPC: its messages, read and written without a library."""
