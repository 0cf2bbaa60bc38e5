"""What Docker, Compose and Swarm share: one engine, and containers that are told the same."""
