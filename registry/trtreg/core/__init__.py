"""What trtreg decides: identities, keys, verdicts, names. Standard library only, no input or output."""
