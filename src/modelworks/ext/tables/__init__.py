"""Tables in formats that need a library."""
