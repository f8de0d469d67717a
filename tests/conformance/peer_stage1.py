"""Run a stage-1 step of `jwst` on a copy of a model, without CRDS."""

import warnings
from typing import Any

import numpy as np


def run_jwst(step_class: type, model: Any, options: dict[str, Any] | None = None, **references: Any) -> Any:
    """Return what a `jwst` step class makes of a deep copy of `model`, with references as models (copied) or paths."""
    overrides = {f"override_{kind}": r.copy() if hasattr(r, "copy") else str(r) for kind, r in references.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        return step_class(**overrides, **(options or {})).process(model.copy())


def assert_close(ours: np.ndarray, theirs: np.ndarray, scale: float) -> None:
    """Compare floats to two float32 roundings of values as large as `scale`; NaN alike."""
    assert ours.dtype == np.float32 and ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * np.spacing(np.float32(scale)))
