"""Practice observations: made-up fields seen by simulated detectors, with matching reference files and the truth."""

from jwnb.sim.observation import ExposureTruth, Practice, Truth, imaging

__all__ = ["ExposureTruth", "Practice", "Truth", "imaging"]
