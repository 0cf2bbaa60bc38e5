"""Ways to tell people and machines of alerts."""
