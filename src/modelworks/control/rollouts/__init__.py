"""Roll-outs: evidence is gathered, rules decide, routes change, everything is kept."""
