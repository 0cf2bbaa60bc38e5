"""Replay: recorded traffic is played to a candidate before it sees a user; both are compared."""
