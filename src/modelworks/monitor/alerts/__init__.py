"""Rules become alerts, and alerts are told."""
