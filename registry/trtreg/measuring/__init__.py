"""Engines at work: how fast they are, what they are good for, what they see, where accuracy is lost."""
