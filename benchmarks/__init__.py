"""Time and peak memory of jwnb beside the jwst package, in one run."""
