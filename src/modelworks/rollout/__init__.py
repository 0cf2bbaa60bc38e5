"""Roll-outs: what may happen to a candidate, decided from evidence alone; nothing here acts."""
