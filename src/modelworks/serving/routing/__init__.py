"""Routes inside one server: which of its models answers, who may ask, and how much."""
