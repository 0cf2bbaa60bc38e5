"""Records after the server: into a store, listed, exported, erased, expired; feedback to them."""
