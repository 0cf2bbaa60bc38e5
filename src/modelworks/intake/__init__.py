"""A file comes in: sniff, import in the sandbox, signature, parity, evidence."""
