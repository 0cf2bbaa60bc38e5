"""Name -> plug-in, by entry point. The only place that does so."""
