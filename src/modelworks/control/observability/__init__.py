"""What other systems need to watch an installation: their configuration, and our numbers."""
