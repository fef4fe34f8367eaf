"""Models by name: their records in the store, what a name means, the index of them, what comes in."""
