"""HTTP/1.1 over sockets: parser, limits, back-pressure, drain."""
