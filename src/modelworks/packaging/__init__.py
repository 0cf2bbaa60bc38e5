"""One version as something that runs elsewhere."""
