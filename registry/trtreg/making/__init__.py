"""Making an engine: whose turn it is, the build, what it is refitted from, what the next one is spared."""
