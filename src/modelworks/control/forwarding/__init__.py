"""Sends records on to other systems, at least once, from the segments that loggers closed."""
