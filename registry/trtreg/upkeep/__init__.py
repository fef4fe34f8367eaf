"""Keeping a store in order: what lies there, pruning, verifying, copying, the catalog made again."""
