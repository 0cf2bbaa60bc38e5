"""A roll-out told after it, or while it goes on: looks that were kept, figures, a page."""
