"""One typed client over two transports: in-process and URL."""
