"""flat_field against `jwst` on the same exposure and the same flat."""

from pathlib import Path

import helpers_flux as h
import numpy as np
import pytest
from conformance.peer_image2 import assert_same_arrays, run_jwst

from jwnb.stage2.flat import flat_field

pytestmark = pytest.mark.peer

ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq")


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("shape", [(h.SIDE, h.SIDE), (3, h.SIDE, h.SIDE)])
def test_images_and_cubes(shape: tuple[int, ...], inverse: bool, tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    h.flat().save(path)
    model = h.rate(shape)
    ours, theirs = flat_field(model, reference=path, inverse=inverse), run_jwst("FlatFieldStep", model, {"flat": path}, inverse=inverse)
    assert_same_arrays(ours, theirs, ARRAYS)
    assert np.isnan(ours.data).any() and np.isfinite(ours.data).any()
    assert ours.meta.cal_step.flat_field == theirs.meta.cal_step.flat_field == "COMPLETE"


def test_subarray_of_the_flat(tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    h.flat((64, 96)).save(path)
    model = h.rate((h.SIDE, h.SIDE), corner=(41, 17), subarray="SUB32")
    assert_same_arrays(flat_field(model, reference=path), run_jwst("FlatFieldStep", model, {"flat": path}), ARRAYS)


@pytest.mark.parametrize("exp_type", ["NIS_IMAGE", "FGS_IMAGE"])
def test_other_instruments(exp_type: str, tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    model = h.rate(exp_type=exp_type)
    h.flat(instrument=model.meta.instrument.name).save(path)
    assert_same_arrays(flat_field(model, reference=path), run_jwst("FlatFieldStep", model, {"flat": path}), ARRAYS)


def test_user_supplied_flat_is_flat(tmp_path: Path) -> None:
    """The option user_supplied_flat of `jwst` does what giving the reference does here."""
    path = tmp_path / "flat.fits"
    h.flat().save(path)
    model = h.rate()
    theirs = run_jwst("FlatFieldStep", model, {}, user_supplied_flat=str(path))
    assert_same_arrays(flat_field(model, reference=path), theirs, ARRAYS)


def test_every_float_of_the_range(tmp_path: Path) -> None:
    """Magnitudes from denormal to overflow, where a different order of operations would show."""
    rng = np.random.default_rng(0)
    path = tmp_path / "flat.fits"
    made = h.flat()
    made.data = (10.0 ** rng.uniform(-12, 12, made.data.shape)).astype(np.float32)
    made.save(path)
    model = h.rate()
    for name in ("data", "var_poisson", "var_rnoise"):
        setattr(model, name, (10.0 ** rng.uniform(-20, 20, model.data.shape)).astype(np.float32))
    with np.errstate(all="ignore"):
        theirs = run_jwst("FlatFieldStep", model, {"flat": path})
    assert_same_arrays(flat_field(model, reference=path), theirs, ARRAYS)


@pytest.mark.parametrize("inverse", [False, True])
def test_guide_stars(inverse: bool, tmp_path: Path) -> None:
    """Signal and flags agree. The error does not: `jwst` adds the flat's error to an error that it has not divided by the flat."""
    path = tmp_path / "flat.fits"
    made = h.flat(instrument="FGS")
    made.save(path)
    model = h.guide_star_rate()
    ours, theirs = flat_field(model, reference=path, inverse=inverse), run_jwst("FlatFieldStep", model, {"flat": path}, inverse=inverse)
    good = np.isfinite(ours.data)
    np.testing.assert_array_equal(ours.data[good], theirs.data[good])
    np.testing.assert_array_equal(ours.dq, theirs.dq)
    used = np.where(theirs.dq & 1 | np.isnan(made.data) | (made.data == 0), 1, made.data).astype(np.float64)
    peer_part = np.broadcast_to(model.err.astype(np.float64), ours.err.shape) ** 2
    scale = used**2 if inverse else 1 / used**2
    expected = np.sqrt(theirs.err.astype(np.float64) ** 2 - peer_part + peer_part * scale)
    bad = np.broadcast_to(theirs.dq & 1, ours.err.shape) != 0
    np.testing.assert_allclose(ours.err[good & ~bad], expected[good & ~bad], rtol=3e-6)
