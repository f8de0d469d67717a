"""photom as people call it."""

import helpers_flux as h
import numpy as np
import pytest
from helpers import freeze

import jwnb
from jwnb.dq import PIXEL
from jwnb.errors import InputError, MissingReferenceError, WrongExposureError
from jwnb.record import ledger
from jwnb.stage2.photom import find_row, photom, throughput

ARRAYS = ("data", "err", "var_poisson", "var_rnoise")


def test_surface_brightness() -> None:
    model = h.rate()
    out = photom(model, photom=h.photom_table(), area=h.area())
    lost = np.isnan([getattr(model, name) for name in ARRAYS]).any(axis=0) | ((model.dq & PIXEL["DO_NOT_USE"]) != 0)
    for name, power in (("data", 1), ("err", 1), ("var_poisson", 2), ("var_rnoise", 2)):
        expected = np.where(lost, np.nan, getattr(model, name) * 0.53**power)
        np.testing.assert_allclose(getattr(out, name), expected, rtol=3e-7, err_msg=name)
    np.testing.assert_array_equal((out.dq & PIXEL["DO_NOT_USE"]) != 0, lost)
    assert out.meta.bunit_data == out.meta.bunit_err == "MJy/sr"
    assert out.meta.photometry.conversion_megajanskys == pytest.approx(0.53)
    assert out.meta.photometry.conversion_microjanskys == pytest.approx(0.53 * 23.5044306, rel=1e-6)  # MJy/sr in uJy/arcsec²
    assert out.meta.photometry.pixelarea_steradians == pytest.approx(2.31e-14)
    np.testing.assert_array_equal(out.area, h.area().data)
    assert out.meta.cal_step.photom == "COMPLETE"


def test_inverse_undoes() -> None:
    model, references = h.rate(), {"photom": h.photom_table(), "area": "N/A"}
    back = photom(photom(model, **references), inverse=True, **references)
    good = np.isfinite(back.data)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(back, name)[good], getattr(model, name)[good], rtol=3e-7)
    assert back.meta.bunit_data == "DN/s"


def test_input_and_references_are_unchanged() -> None:
    model, table, area = freeze(h.rate()), h.photom_table(), freeze(h.area())
    before = model.data.copy()
    out = photom(model, photom=table, area=area)
    np.testing.assert_array_equal(model.data, before)
    assert model.meta.bunit_data is None and model.meta.photometry.conversion_megajanskys is None
    assert np.shares_memory(out.area, area.data)


def test_round_trip(tmp_path) -> None:
    out = photom(h.rate(), photom=h.photom_table(), area=h.area())
    again = jwnb.open(jwnb.save(out, tmp_path / "image_cal.fits"))
    np.testing.assert_array_equal(again.area, out.area)
    assert again.meta.bunit_err == "MJy/sr"
    assert again.meta.photometry.conversion_microjanskys == pytest.approx(out.meta.photometry.conversion_microjanskys)


def test_piece_is_the_same_pixels_of_the_whole() -> None:
    model, references = h.rate(), {"photom": h.photom_table(), "area": h.area()}
    whole, piece = photom(model, **references), photom(jwnb.cutout(model, x=(3, 20), y=(5, 31)), **references)
    for name in (*ARRAYS, "dq", "area"):
        np.testing.assert_array_equal(getattr(piece, name), getattr(whole, name)[5:31, 3:20], err_msg=name)


def test_areas_that_differ_are_noted_and_the_map_wins() -> None:
    out = photom(h.rate(), photom=h.photom_table(), area=h.area(steradians=2.4e-14))
    assert out.meta.photometry.pixelarea_steradians == 2.4e-14
    assert any("PIXAR_SR is 2.4e-14 in the area reference and 2.3e-14" in line for line in ledger(out)[-1]["notes"])


@pytest.mark.parametrize("area", ["N/A", h.area(steradians=None)])
def test_area_of_the_table_where_there_is_no_other(area) -> None:
    out = photom(h.rate(), photom=h.photom_table(), area=area)
    assert out.meta.photometry.pixelarea_steradians == 2.3e-14
    assert (out.area is None) == (area == "N/A")


@pytest.mark.parametrize(("exp_type", "row"), [("NRC_IMAGE", 0), ("NIS_IMAGE", 0), ("FGS_IMAGE", 0)])
def test_rows(exp_type, row) -> None:
    model = h.rate(exp_type=exp_type)
    assert find_row(model, h.photom_table(model.meta.instrument.name).phot_table) == row


@pytest.mark.parametrize(("pupil", "row"), [("CLEAR", 0), ("F162M", 2)])
def test_row_of_the_pupil(pupil, row) -> None:
    model = h.rate()
    model.meta.instrument.pupil = pupil
    assert find_row(model, h.photom_table().phot_table) == row


def test_row_of_the_subarray() -> None:
    table = h.photom_table(subarrays=("FULL", "SUB64P")).phot_table
    assert [find_row(h.rate(subarray=name), table) for name in ("FULL", "SUB64P")] == [0, 1]


def test_no_row_leaves_the_image_and_says_so() -> None:
    model = h.rate()
    model.meta.instrument.filter = "F070W"
    with pytest.warns(match="no row for FILTER=F070W, PUPIL=CLEAR: the image stays in DN/s"):
        out = photom(model, photom=h.photom_table(), area=h.area())
    assert out.meta.cal_step.photom == "SKIPPED" and out.area is None
    assert np.shares_memory(out.data, model.data)
    assert ledger(out)[-1]["reason"].endswith("no row for FILTER=F070W, PUPIL=CLEAR")


def test_two_rows() -> None:
    with pytest.raises(MissingReferenceError, match="2 rows"):
        photom(h.rate(), photom=h.photom_table(twice=True), area="N/A")


@pytest.mark.parametrize(("law", "expected"), [
    ("linear", 1 - 0.02 * 762.5 / 365),
    ("exponential", 0.1 * np.exp(-762.5 / 300) + 0.92),
    ("powerlaw", 0.97 * (763.5 / 366) ** -0.02),
])  # fmt: skip
def test_throughput(law, expected) -> None:
    table = h.add_decline(h.photom_table(), law)
    assert throughput(table, 0, 60462.5) == pytest.approx(expected, rel=1e-6)
    assert throughput(table, 1, 60462.5) != throughput(table, 0, 60462.5)
    assert throughput(h.photom_table(), 0, 60462.5) == 1
    out = photom(h.rate(), photom=table, area="N/A")
    assert out.meta.photometry.conversion_megajanskys == pytest.approx(0.53 / expected, rel=1e-6)
    assert "relative throughput" in ledger(out)[-1]["notes"][0]


def test_laws_multiply() -> None:
    both, one, two = (h.add_decline(h.photom_table(), *laws) for laws in (("linear", "powerlaw"), ("linear",), ("powerlaw",)))
    assert throughput(both, 1, 60000.0) == throughput(one, 1, 60000.0) * throughput(two, 1, 60000.0)


def test_decline_needs_a_time_and_a_row_each() -> None:
    model, table = h.rate(), h.add_decline(h.photom_table(), "linear")
    model.meta.exposure.mid_time = None
    with pytest.raises(InputError, match="EXPMID"):
        photom(model, photom=table, area="N/A")
    assert photom(model, photom=table, area="N/A", apply_time_correction=False).meta.cal_step.photom == "COMPLETE"
    table.timecoeff_linear = table.timecoeff_linear[:2]
    with pytest.raises(InputError, match="3 rows and 2 of timecoeff_linear"):
        throughput(table, 0, 60000.0)


@pytest.mark.parametrize(("source_type", "srctype", "unit", "factor"), [
    ("POINT", None, "MJy", 2.0), (None, "POINT", "MJy", 2.0),
    ("EXTENDED", "POINT", "MJy/sr", 2.0 / 2.31e-14), (None, None, "MJy/sr", 2.0 / 2.31e-14),
])  # fmt: skip
def test_tables_of_fluxes(source_type, srctype, unit, factor) -> None:
    """Source types matter where a table gives a flux."""
    from jwnb.stage2 import photom as module

    model = h.rate()
    model.meta.target.source_type = srctype
    model.meta.photometry.pixelarea_steradians = 2.31e-14
    assert module._conversion(np.array([(2.0,)], dtype=[("photmj", "f8")]), 0, model, source_type) == (factor, unit)


def test_flux_without_a_pixel_area() -> None:
    from jwnb.stage2 import photom as module

    with pytest.warns(match="PIXAR_SR"):
        assert module._conversion(np.array([(2.0,)], dtype=[("photmj", "f8")]), 0, h.rate(), None) == (2.0, "MJy")


@pytest.mark.parametrize(("exp_type", "instrument"), [("MIR_IMAGE", "MIRI"), ("NRS_IMAGE", "NIRSPEC"), ("NRC_WFSS", "NIRCAM")])
def test_what_it_is_not_for(exp_type, instrument) -> None:
    model = h.rate()
    model.meta.exposure.type, model.meta.instrument.name = exp_type, instrument
    with pytest.raises(WrongExposureError, match=exp_type):
        photom(model, photom=h.photom_table(), area="N/A")


def test_cube_of_niriss_is_skipped() -> None:
    out = photom(h.rate((2, h.SIDE, h.SIDE), exp_type="NIS_AMI"), photom=h.photom_table("NIRISS"), area="N/A")
    assert out.meta.cal_step.photom == "SKIPPED"
