"""Stage3."""
