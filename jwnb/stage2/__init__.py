"""Stage2."""
