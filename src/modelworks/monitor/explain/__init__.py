"""What features do over a window, and what changed in it."""
