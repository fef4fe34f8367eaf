"""Bytes: the store, the local cache and its notes, and handing plans out. Every file is written whole or not at all."""
