"""`modelworks demo`: small models through the whole line, by the commands a user would type."""
