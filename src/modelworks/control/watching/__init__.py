"""The watch at work: duties that run again and again, none of which can stop another."""
