"""Recipes: passes run, forms measured and judged, the best ones kept. Knows no registry."""
