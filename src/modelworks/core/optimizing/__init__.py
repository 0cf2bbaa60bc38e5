"""The words of the improvement shop: passes, recipes, goals, and the variants that come of them."""
