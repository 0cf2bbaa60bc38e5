"""The Open Inference Protocol over gRPC, in front of the same models, queues and rules as HTTP."""
