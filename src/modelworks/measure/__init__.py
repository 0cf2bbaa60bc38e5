"""Load generation and latency figures against a server that is given."""
