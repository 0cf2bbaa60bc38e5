"""`modelworks ...` (alias `mw`); commands import what they need inside."""
