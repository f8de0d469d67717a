"""Run a stage-2 step of `jwst` on a copy of a model with given references, without CRDS."""

import warnings
from typing import Any

import numpy as np

JWST_REFERENCES = {
    "AssignWcsStep": (
        "distortion", "filteroffset", "specwcs", "regions", "wavelengthrange", "camera", "chromcorr", "collimator",
        "disperser", "fore", "fpa", "msa", "ote", "ifupost", "ifufore", "ifuslicer",
    ),
    "FlatFieldStep": ("flat", "fflat", "sflat", "dflat"),
    "PhotomStep": ("photom", "area"),
}  # fmt: skip


def run_jwst(name: str, model: Any, references: dict[str, Any], **options: Any) -> Any:
    """Return what the `jwst` step of that class name makes of a deep copy of `model`; references are paths."""
    import jwst.assign_wcs
    import jwst.flatfield
    import jwst.photom

    modules = {"AssignWcsStep": jwst.assign_wcs, "FlatFieldStep": jwst.flatfield, "PhotomStep": jwst.photom}
    overrides = {f"override_{kind}": str(references.get(kind, "N/A")) for kind in JWST_REFERENCES[name]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # `process` and not `run`: the latter asks CRDS for the context to record.
        return getattr(modules[name], name)(**overrides, **options).process(model.copy())


def assert_same_tree(ours: Any, theirs: Any) -> None:
    """Compare two metadata nodes key by key: numbers to 1e-9 of their value, everything else exactly."""
    ours, theirs = plain(ours), plain(theirs)
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        if isinstance(value, float):
            assert np.isclose(ours[key], value, rtol=1e-9, atol=1e-300), key
        else:
            assert ours[key] == value, key


def plain(node: Any) -> dict[str, Any]:
    """Return a metadata node as a dict of Python values, without keys that are None."""
    values = {k: v.item() if hasattr(v, "item") else v for k, v in node.instance.items()}
    return {k: v for k, v in values.items() if v is not None}


def assert_same_arrays(ours: Any, theirs: Any, names: tuple[str, ...], *, ulps: int = 0) -> None:
    """Compare arrays of two models: DQ and all NaN alike, floats to that many units in the last place of float32."""
    for name in names:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None), name
        if mine is None:
            continue
        assert (mine.dtype.name, mine.shape) == (other.dtype.name, other.shape), name
        if mine.dtype.kind == "f" and ulps:
            np.testing.assert_array_max_ulp(mine, other, maxulp=ulps)
        else:
            np.testing.assert_array_equal(mine, other, err_msg=name)
