"""Widgets for jwnb."""
