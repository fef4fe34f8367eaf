"""One file a migration: `rNNNN_what_it_brings.py`. One that was released is never edited."""
