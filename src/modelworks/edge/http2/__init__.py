"""HTTP/2 over the sockets of the edge: its requests are those of HTTP/1.1, its calls are gRPC."""
