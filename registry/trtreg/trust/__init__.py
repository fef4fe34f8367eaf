"""Engines withdrawn, what this machine knows of that, and what is in a store already signed."""
