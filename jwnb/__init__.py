"""JWST calibration, stages 1 to 3, for notebooks."""
