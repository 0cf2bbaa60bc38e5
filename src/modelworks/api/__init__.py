"""The control plane over HTTP: routers, errors as problem+json, OpenAPI."""
