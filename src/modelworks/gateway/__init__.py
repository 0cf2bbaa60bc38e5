"""The front door over many servers: one address; split, retry, shadow, stream through.

Carries out what a snapshot of routes says (`core.routes`, decided by `protocol.routes`). No body is
ever parsed, but for the field that a route is sticky by.
"""
