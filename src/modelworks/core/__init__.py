"""The language that every room speaks: frozen values, errors, seams. Standard library only."""
