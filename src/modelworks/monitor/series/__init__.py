"""Series over a year in little room: chunks of windows in the database. See docs/watch.md."""
