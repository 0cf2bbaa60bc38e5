"""What records say of the arms of a roll-out: pairs of answers, their distributions, callers."""
