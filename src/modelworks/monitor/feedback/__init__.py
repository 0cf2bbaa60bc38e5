"""What became of predictions: taken in, kept, and joined to the records."""
