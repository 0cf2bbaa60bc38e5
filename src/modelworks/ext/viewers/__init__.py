"""Look inside of forms: one module a format."""
