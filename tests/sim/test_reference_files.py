import numpy as np
import pytest
from astropy.io import fits
from photutils.aperture import CircularAnnulus, CircularAperture
from stdatamodels.jwst import datamodels as dm

from jwnb import sim
from jwnb.dq import PIXEL
from jwnb.errors import MissingReferenceError
from jwnb.models import open as open_model
from jwnb.references import offline_set
from jwnb.sim.detector import build_electronics
from jwnb.sim.geometry import detector
from jwnb.sim.reference_files import NOT_APPLICABLE
from jwnb.sim.scene import ARCSEC2

KINDS = {
    "mask": dm.MaskModel, "gain": dm.GainModel, "readnoise": dm.ReadnoiseModel, "saturation": dm.SaturationModel,
    "superbias": dm.SuperBiasModel, "linearity": dm.LinearityModel, "dark": dm.DarkModel, "flat": dm.FlatModel,
    "area": dm.PixelAreaModel, "photom": dm.NrcImgPhotomModel, "distortion": dm.DistortionModel, "apcorr": dm.NrcImgApcorrModel,
    "abvegaoffset": dm.ABVegaOffsetModel,
}  # fmt: skip


@pytest.fixture(scope="module")
def ramp(practice):
    return open_model(practice.uncal[0])


@pytest.fixture(scope="module")
def references(practice, ramp):
    pinned = offline_set(practice.references)
    models = {}
    for reftype, kind in KINDS.items():
        with kind(pinned.find(ramp, reftype), strict_validation=True) as model:
            model.validate()
            models[reftype] = model.copy()
    return models


def test_every_type_has_an_answer(practice, ramp):
    pinned = offline_set(practice.references)
    for reftype in (*NOT_APPLICABLE, "ipc"):
        assert pinned.find(ramp, reftype) is None
    other = ramp.copy()
    other.meta.instrument.detector = "NRCA2"
    with pytest.raises(MissingReferenceError, match="NRCA1"):
        pinned.find(other, "dark")


def test_they_say_what_they_are(references):
    for reftype, model in references.items():
        meta = model.meta
        assert (meta.reftype, meta.author, meta.pedigree) == (reftype, "jwnb practice data", "DUMMY")
        assert meta.useafter and meta.description and meta.telescope == "JWST"
        assert (meta.instrument.name, meta.instrument.detector) == ("NIRCAM", "NRCA1")
    sub = detector("NRCA1").subarray("SUB160")
    for reftype in ("mask", "gain", "dark", "flat", "superbias", "linearity", "saturation", "readnoise"):
        s = references[reftype].meta.subarray
        assert (s.name, s.xstart, s.ystart, s.xsize, s.ysize, s.fastaxis) == ("SUB160", sub.xstart, sub.ystart, 160, 160, -1)


def test_they_are_the_detector_s(references):
    sub = detector("NRCA1").subarray("SUB160")
    e = build_electronics(detector("NRCA1"), sub, np.random.default_rng([11, 1, 0]))
    for name, value in (("gain", e.gain), ("superbias", e.bias), ("saturation", e.saturation)):
        np.testing.assert_array_equal(references[name].data, value)
    np.testing.assert_array_equal(references["linearity"].coeffs, e.coeffs)
    np.testing.assert_allclose(references["readnoise"].data, e.read_noise * np.sqrt(2), rtol=1e-6)
    dark = references["dark"]
    assert (dark.meta.exposure.nframes, dark.meta.exposure.groupgap) == (1, 0)
    assert dark.data.shape == (24, 160, 160)  # as many frames as an integration of 5 groups SHALLOW4
    np.testing.assert_allclose(dark.data[7], e.dark / e.gain * 8 * sub.frame_time, rtol=1e-5)
    dq = references["mask"].dq
    np.testing.assert_array_equal(dq & PIXEL["REFERENCE_PIXEL"] > 0, e.border)
    np.testing.assert_array_equal(dq & PIXEL["DEAD"] > 0, e.dead)
    assert np.all(dq[e.dead] & PIXEL["DO_NOT_USE"])
    assert not np.any(dq[e.border] & PIXEL["DO_NOT_USE"])  # the refpix step needs them
    np.testing.assert_array_equal(references["dark"].dq & PIXEL["HOT"] > 0, e.hot)
    np.testing.assert_array_equal(references["flat"].dq & PIXEL["NO_FLAT_FIELD"] > 0, e.border)


def test_linearity_is_the_inverse_of_what_was_applied(references):
    from jwnb.kernels.accumulation import invert_polynomial

    coeffs = references["linearity"].coeffs.astype(np.float32)  # files are big-endian
    for level in (100.0, 5000.0, 30000.0, 48000.0):
        linear = np.full(coeffs.shape[1:], level, np.float32)
        measured = invert_polynomial(linear, coeffs, np.full(linear.shape, 1e6, np.float32))
        back = sum(c * measured**k for k, c in enumerate(coeffs.astype(float)))
        assert np.abs(back - level).max() < 0.1


def test_flat_photom_and_area_agree(references):
    flat, area, photom = references["flat"], references["area"], references["photom"]
    assert np.isfinite(flat.data).all()
    assert np.median(flat.data) == pytest.approx(1.0, abs=0.05)
    nominal = float(detector("NRCA1").pixel_area(1023.5, 1023.5))
    for m in (area, photom):
        assert m.meta.photometry.pixelarea_arcsecsq == pytest.approx(nominal)
        assert m.meta.photometry.pixelarea_steradians == pytest.approx(nominal * ARCSEC2)
    assert area.data.shape == (2048, 2048)  # readers cut it to the subarray
    assert area.data[1023:1025, 1023:1025].mean() == pytest.approx(1.0, abs=1e-5)
    assert 1.0 < photom.phot_table["photmjsr"][0] < 3.0
    assert [str(photom.phot_table[name][0]).strip() for name in ("filter", "pupil")] == ["F200W", "CLEAR"]


def test_aperture_correction_brings_back_all_the_light(references):
    from jwnb.kernels.gaussians import draw_gaussians
    from jwnb.sim.optics import bandpass, point_spread

    psf = point_spread(bandpass("F200W"), detector("NRCA1"))
    table = references["apcorr"].apcorr_table
    assert len(table) == 7
    found = []
    for dx, dy in np.ndindex(4, 4):  # stars lie anywhere in a pixel
        centre = 100 + dx / 4 - 0.375, 100 + dy / 4 - 0.375
        place = np.broadcast_to(centre, (psf.weight.size, 2))
        # Drizzling to pixels of the same size blurs by two squares.
        star = draw_gaussians((201, 201), np.column_stack([place, psf.weight, psf.covariance + np.array([2 / 12, 2 / 12, 0.0])]))
        for row in table:
            radius, skyin, skyout = (float(row[name]) for name in ("radius", "skyin", "skyout"))
            ring = CircularAnnulus(centre, skyin, skyout)
            light = CircularAperture(centre, radius).do_photometry(star)[0][0]
            sky = ring.do_photometry(star)[0][0] / ring.area
            found.append((light - sky * np.pi * radius**2) * row["apcorr"])
    np.testing.assert_allclose(np.reshape(found, (16, 7)).mean(axis=0), 1.0, atol=0.01)


def test_dq_definitions_name_the_flags(practice):
    with fits.open(practice.references / "jwst_nircam_mask_nrca1_sub160_practice.fits") as hdus:
        names = [str(n).strip() for n in hdus["DQ_DEF"].data["NAME"]]
        assert {"DO_NOT_USE", "REFERENCE_PIXEL", "DEAD", "HOT"} <= set(names)
        values = hdus["DQ_DEF"].data["VALUE"]
        np.testing.assert_array_equal(values, 2 ** hdus["DQ_DEF"].data["BIT"].astype(np.int64))


def test_a_long_dark_has_the_exposure_s_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("jwnb.sim.reference_files.DARK_LIMIT", 100_000)
    made = sim.imaging(tmp_path, subarray="SUB160", dithers=1, readpatt="SHALLOW4", ngroups=3, stars=0, galaxies=0, ipc=True)
    ramp = open_model(made.uncal[0])
    pinned = offline_set(made.references)
    with dm.DarkModel(pinned.find(ramp, "dark")) as dark, dm.GainModel(pinned.find(ramp, "gain")) as gain:
        assert (dark.meta.exposure.nframes, dark.meta.exposure.groupgap, dark.data.shape[0]) == (4, 1, 3)
        e = build_electronics(detector("NRCA1"), detector("NRCA1").subarray("SUB160"), np.random.default_rng([0, 1, 0]))
        np.testing.assert_allclose(dark.data[1], e.dark / gain.data * 0.27864 * 7.5, rtol=1e-5)
    with dm.IPCModel(pinned.find(ramp, "ipc")) as ipc:
        assert ipc.data.shape == (5, 5)
    ramp.meta.exposure.readpatt = "RAPID"
    with pytest.raises(MissingReferenceError, match="readpatt"):
        pinned.find(ramp, "dark")
