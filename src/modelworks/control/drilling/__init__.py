"""Fire drills: a candidate that is broken on purpose, in an installation made for it alone."""
