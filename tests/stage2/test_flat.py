"""flat_field as people call it."""

import helpers_flux as h
import numpy as np
import pytest
from helpers import freeze
from stdatamodels.jwst.datamodels import CubeModel

from jwnb.dq import PIXEL
from jwnb.errors import InputError, MissingReferenceError, WrongExposureError
from jwnb.record import ledger
from jwnb.stage2.flat import flat_field

ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "var_flat")
DNU = PIXEL["DO_NOT_USE"]


@pytest.mark.parametrize("shape", [(h.SIDE, h.SIDE), (3, h.SIDE, h.SIDE)])
def test_a_flat_scene_comes_out_flat(shape) -> None:
    """What the flat put in is taken out, with the error that it leaves."""
    model, flat = h.rate(shape), h.flat()
    model.dq = np.zeros(shape, np.uint32)
    for name in ("var_poisson", "var_rnoise"):
        setattr(model, name, np.full(shape, 0.5, np.float32))
    model.data = np.broadcast_to(7 * flat.data, shape).astype(np.float32)
    out = flat_field(model, reference=flat)
    good = np.isfinite(out.data)
    assert good.mean() > 0.99
    np.testing.assert_allclose(out.data[good], 7, rtol=1e-6)
    response = np.where(flat.data == 0, np.nan, flat.data)
    expected = np.sqrt(1 / response**2 + (7 * flat.err / response) ** 2)
    np.testing.assert_allclose(out.err[good], np.broadcast_to(expected, shape)[good], rtol=1e-6)


@pytest.mark.parametrize("shape", [(h.SIDE, h.SIDE), (3, h.SIDE, h.SIDE)])
@pytest.mark.parametrize("inverse", [False, True])
def test_nan_and_do_not_use_go_together(shape, inverse) -> None:
    out = flat_field(h.rate(shape), reference=h.flat(), inverse=inverse)
    lost = (out.dq & DNU) != 0
    assert lost.any() and not lost.all()
    for name in ARRAYS:
        np.testing.assert_array_equal(np.isnan(getattr(out, name)), lost, err_msg=name)


def test_pixels_that_the_flat_does_not_know() -> None:
    model = h.rate()
    model.dq = np.zeros_like(model.dq)
    dq = flat_field(model, reference=h.flat()).dq[1]
    no_flat = PIXEL["NO_FLAT_FIELD"]
    assert [int(v) for v in dq[1:7]] == [no_flat | DNU, no_flat | DNU, DNU, no_flat | DNU, DNU, PIXEL["UNRELIABLE_FLAT"]]


def test_inverse_undoes() -> None:
    model, flat = h.rate(), h.flat()
    back = flat_field(flat_field(model, reference=flat), reference=flat, inverse=True)
    good = np.isfinite(back.data)
    for name in ("data", "var_poisson", "var_rnoise"):
        np.testing.assert_allclose(getattr(back, name)[good], getattr(model, name)[good], rtol=1e-6)
    assert not back.var_flat[good].any()


def test_input_and_reference_are_unchanged() -> None:
    model, flat = freeze(h.rate()), freeze(h.flat())
    data, dq, response = model.data.copy(), model.dq.copy(), flat.data.copy()
    out = flat_field(model, reference=flat)
    np.testing.assert_array_equal(model.data, data)
    np.testing.assert_array_equal(model.dq, dq)
    np.testing.assert_array_equal(flat.data, response)
    assert out.meta.cal_step.flat_field == "COMPLETE"
    assert ledger(out)[-1]["parameters"] == {"inverse": False}


def test_piece_is_the_same_pixels_of_the_whole() -> None:
    import jwnb

    model, flat = h.rate((2, h.SIDE, h.SIDE)), h.flat()
    whole = flat_field(model, reference=flat)
    piece = flat_field(jwnb.cutout(model, x=(2, 19), y=(0, 11)), reference=flat)
    assert isinstance(piece, CubeModel)
    for name in (*ARRAYS, "dq"):
        np.testing.assert_array_equal(getattr(piece, name), getattr(whole, name)[:, 0:11, 2:19], err_msg=name)


def test_guide_star_errors_are_divided_too() -> None:
    """Scatter of many realisations, divided by the flat, against the error that comes out."""
    rng = np.random.default_rng(8)
    shape = (400, 9, 9)
    model, flat = h.guide_star_rate(shape), h.flat(shape[1:], instrument="FGS")
    flat.data, flat.err, flat.dq = np.linspace(0.3, 3, 81).reshape(9, 9).astype("f4"), np.zeros((9, 9), "f4"), np.zeros((9, 9), "u4")
    model.dq = np.zeros((9, 9), np.uint32)
    model.err = np.full(shape, 10, np.float32)
    model.data = rng.normal(100, 10, shape).astype(np.float32)
    out = flat_field(model, reference=flat)
    np.testing.assert_allclose(out.data.std(axis=0) / out.err.mean(axis=0), 1, atol=0.15)


def test_guide_stars_keep_their_one_plane_of_flags() -> None:
    model, flat = h.guide_star_rate(), h.flat(instrument="FGS")
    out = flat_field(model, reference=flat)
    assert out.dq.shape == model.dq.shape
    assert out.dq[1, 1] & DNU and np.isnan(out.data[0, 7, 7]) and np.isnan(out.err[0, 7, 7])
    assert "var_flat" not in out.instance
    del model.instance["dq"]
    assert flat_field(model, reference=flat).dq[1, 5] == DNU


def test_flat_without_error() -> None:
    flat = h.flat()
    del flat.instance["err"]
    out = flat_field(h.rate(), reference=flat)
    assert not out.var_flat[np.isfinite(out.data)].any()
    assert "no error" in ledger(out)[-1]["notes"][0]


def test_flat_that_does_not_fit() -> None:
    flat = h.flat()
    flat.instance["dq"] = flat.dq[:4]
    with pytest.raises(MissingReferenceError, match="DQ has 32×4 pixels"):
        flat_field(h.rate(), reference=flat)
    with pytest.raises(MissingReferenceError):
        flat_field(h.rate((64, 64)), reference=h.flat())


def test_rate_without_variances() -> None:
    model = h.rate()
    del model.instance["var_rnoise"]
    with pytest.raises(InputError, match="has no 'var_rnoise' array"):
        flat_field(model, reference=h.flat())


def test_what_it_is_not_for() -> None:
    model = h.rate()
    model.meta.instrument.name, model.meta.instrument.detector, model.meta.exposure.type = "NIRSPEC", "NRS1", "NRS_FIXEDSLIT"
    with pytest.raises(WrongExposureError, match="NRS_FIXEDSLIT"):
        flat_field(model, reference=h.flat())


def test_no_flat_or_too_late() -> None:
    assert flat_field(h.rate(), reference="N/A").meta.cal_step.flat_field == "SKIPPED"
    model = h.rate()
    model.meta.cal_step.extract_2d = "COMPLETE"
    assert flat_field(model, reference=h.flat()).meta.cal_step.flat_field == "SKIPPED"
