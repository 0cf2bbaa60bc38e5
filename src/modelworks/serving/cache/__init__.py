"""Answers that are kept and given again. See docs/cache.md and docs/decisions/0055-cache.md."""
