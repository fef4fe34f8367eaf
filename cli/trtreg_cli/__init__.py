"""The command line of trtreg: one file for each group of commands, `main` for what they share."""
