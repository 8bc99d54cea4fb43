"""Tool calls: registry, schemas, argument checks, results. Standard library only."""
