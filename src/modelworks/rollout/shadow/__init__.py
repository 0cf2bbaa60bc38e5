"""Shadow diffing: the answers of a candidate that nobody sees beside those that callers got."""
