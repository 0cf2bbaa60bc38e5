"""Models, versions, aliases, lineage, artifacts and their history."""
