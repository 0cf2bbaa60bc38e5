"""Records and feedback become windows of quality (measured, estimated, inferred) and business."""
