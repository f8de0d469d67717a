"""Stage1."""
