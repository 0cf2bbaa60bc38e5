"""Bundled plug-ins; every heavy third-party library is imported here and nowhere else."""
