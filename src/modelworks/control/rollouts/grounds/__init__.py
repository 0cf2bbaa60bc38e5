"""What a roll-out moves traffic among: versions in one server, or deployments behind a gateway."""
