"""Routes that a proxy carries which the user already runs."""
