"""One module a family of commands; each imports its libraries inside."""
