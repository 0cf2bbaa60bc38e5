"""What importers and engines both must know of a file before a reader in C++ sees it."""
