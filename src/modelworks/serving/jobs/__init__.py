"""Asynchronous inference: jobs are written down before they are accepted, and run behind others."""
