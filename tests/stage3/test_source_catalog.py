"""source_catalog: truth, honest errors, edges."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from helpers_sources import apcorr, mosaic, paint, vega
from helpers_stage3 import dithered

import jwnb
from jwnb import record, sim
from jwnb.errors import InputError, MissingReferenceError, ParameterError, WrongExposureError
from jwnb.stage3.resample import resample
from jwnb.stage3.source_catalog import source_catalog


@pytest.fixture(scope="module")
def references():
    return {"apcorr": apcorr(), "abvegaoffset": vega()}


class Repeated:
    """The same stars and sky in four dithered images, with new noise each time."""

    def __init__(self, noise: float = 0.05) -> None:
        self.noise, self.images = noise, dithered(4, (200, 200))
        rng = np.random.default_rng(5)
        x, y = (v.ravel() + rng.uniform(-1, 1, 64) for v in np.meshgrid(*2 * [np.arange(8) * 23.0 + 20]))
        self.ra, self.dec = self.images[0].meta.wcs(x, y)
        self.clean = []
        for image in self.images:
            places = image.meta.wcs.invert(self.ra, self.dec, with_bounding_box=False)
            self.clean.append(paint(image.data.shape, *places, 30.0) + 0.3)
            image.dq = np.zeros(image.data.shape, np.uint32)
            image.err = np.full(image.data.shape, noise, np.float32)
            image.var_rnoise = image.err**2
            image.var_poisson = image.var_flat = np.full(image.data.shape, 1e-12, np.float32)

    def drizzled(self, seed: int | None, **how: float):
        rng = np.random.default_rng(seed)
        for image, clean in zip(self.images, self.clean, strict=True):
            image.data = (clean + (0 if seed is None else self.noise * rng.normal(size=clean.shape))).astype(np.float32)
        return resample(self.images, **how)


@pytest.mark.parametrize("how", [{"pixel_scale_ratio": 0.6}, {"pixfrac": 0.8, "pixel_scale_ratio": 0.9}], ids=str)
def test_pulls_have_unit_width_with_correlated_noise(how, references):
    scene = Repeated()
    options = {**references, "npixels": 10, "bkg_boxsize": 2000}
    truth = source_catalog(scene.drizzled(None, **how), **options).cat
    assert len(truth) == 64
    pulls = {f"{e}{kind}": [] for e in (30, 50, 70) for kind in ("", "_corr")}
    for seed in range(6):
        cat = source_catalog(scene.drizzled(seed, **how), **options).cat
        which, distance, _ = truth["sky_centroid"].match_to_catalog_sky(cat["sky_centroid"])
        assert distance.arcsec.max() < 0.02
        for name, found in pulls.items():
            column = f"aper{name[:2]}_flux"
            found.append((cat[column][which] - truth[column]) / cat[f"{column}_err{name[2:]}"][which])
    width = {name: np.std(np.array(found)) for name, found in pulls.items()}
    # 384 pulls: their width is known to 3.6 %.
    assert all(width[f"{e}_corr"] == pytest.approx(1, abs=0.1) for e in (30, 50, 70)), width
    assert width["30"] < 0.88
    assert width["50"] < 0.92


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    """Four dithered exposures of sixteen stars from bright to lost in the noise, as a mosaic."""
    grid = np.array([(i, j) for i in range(4) for j in range(4)], float) * 1.4 - 2.1 + np.linspace(0, 0.3, 16)[:, None]
    stars = Table({"ra": 150.1 + grid[:, 0] / 3600 / np.cos(np.radians(2.2)), "dec": 2.2 + grid[:, 1] / 3600})
    stars["flux"] = np.geomspace(3e-8, 3e-5, 16)
    made = sim.imaging(
        tmp_path_factory.mktemp("catalogue"), subarray="SUB320", dithers=4, readpatt="SHALLOW4", ngroups=6, stars=stars, galaxies=0,
        sky=0.1, seed=41,
    )  # fmt: skip
    with jwnb.references.use(offline=made.references):
        cals = [jwnb.image2(jwnb.detector1(path).rate, skip=("resample",)).cal for path in made.uncal]
        return stars, source_catalog(jwnb.resample(cals), npixels=8).cat


def test_fluxes_completeness_and_purity(practice):
    stars, cat = practice
    sky = SkyCoord(stars["ra"], stars["dec"], unit="deg")
    which, distance, _ = sky.match_to_catalog_sky(cat["sky_centroid"])
    found = distance.arcsec < 0.06
    flux, error = (cat[f"aper_total_flux{kind}"][which].value for kind in ("", "_err_corr"))
    bright = stars["flux"] > 3e-6
    assert found[bright].all()
    assert np.mean(flux[bright] / stars["flux"][bright]) == pytest.approx(1, abs=0.01)
    detectable = stars["flux"] > 10 * np.median(error)
    assert found[detectable].all()
    assert detectable.sum() > 8
    assert (np.abs(flux - stars["flux"])[found] < 5 * error[found] + 0.03 * stars["flux"][found]).all()
    _, nearest, _ = cat["sky_centroid"].match_to_catalog_sky(sky)
    assert (nearest.arcsec < 0.1).mean() >= 0.9
    stars_far = cat[which[bright]]
    assert not stars_far["is_extended"].any()


def test_what_was_done_is_written_down(references):
    image = mosaic()
    made = source_catalog(image, **references)
    assert made.cat.meta["filename"] == "field_cat.ecsv"
    assert made.segm.meta.filename == "field_segm.fits"
    assert made.segm.meta.source_catalog == "field_cat.ecsv"
    assert made.segm.meta.cal_step.source_catalog == "COMPLETE"
    assert record.ledger(made.segm)[-1]["step"] == "source_catalog"
    assert made.segm.data.max() == len(made.cat)
    assert image.meta.source_catalog is None


def test_it_takes_paths_and_survives_saving(references, tmp_path):
    path = jwnb.save(mosaic(), tmp_path / "field_i2d.fits")
    made = source_catalog(path, **references)
    back = jwnb.open(jwnb.save(made.segm, tmp_path / "field_segm.fits"))
    assert np.array_equal(back.data, made.segm.data)
    assert np.allclose(back.meta.wcs(10.0, 12.0), made.segm.meta.wcs(10.0, 12.0))


@pytest.mark.parametrize(("spoil", "why"), [
    (lambda m: m.wht.fill(0), "no pixel has data"), (lambda m: m.data.fill(np.nan), "no pixel has data"),
    (lambda m: m.data.fill(0.3), "nothing stands"),
], ids=["weightless", "nan", "flat"])  # fmt: skip
def test_nothing_there(spoil, why, references):
    image = mosaic()
    spoil(image)
    for starfinder in ("segmentation", "dao", "iraf"):
        with pytest.warns(UserWarning, match=f"no sources were found: {why}"):
            made = source_catalog(image, starfinder=starfinder, **references)
        assert len(made.cat) == 0
        if made.segm is not None:
            assert not made.segm.data.any()
            assert why in record.ledger(made.segm)[-1]["notes"][-1]


def test_without_weights_the_error_says_what_is_seen(references):
    image = mosaic()
    expected = source_catalog(image, **references).cat
    image.wht = None
    assert len(source_catalog(image, **references).cat) == len(expected)


def test_images_that_it_cannot_take(references):
    image = mosaic()
    image.meta.bunit_data = "DN/s"
    with pytest.raises(InputError, match="Run photom first"):
        source_catalog(image, **references)
    image = mosaic()
    del image.meta.wcs
    with pytest.raises(InputError, match="has no WCS"):
        source_catalog(image, **references)
    image = mosaic()
    image.err = None
    with pytest.raises(InputError, match="enable_err=True"):
        source_catalog(image, **references)
    image = mosaic()
    image.meta.photometry.pixelarea_steradians = None
    with pytest.raises(InputError, match="PIXAR_SR"):
        source_catalog(image, **references)
    image = mosaic()
    image.meta.instrument.name = "NIRSPEC"
    with pytest.raises(WrongExposureError, match="NIRSPEC"):
        source_catalog(image, **references)


def test_references_that_do_not_fit(references):
    image = mosaic()
    with pytest.raises(ParameterError, match="must increase"):
        source_catalog(image, aperture_ee1=70, **references)
    with pytest.raises(ParameterError, match="it has 30, 50, 70, 80"):
        source_catalog(image, aperture_ee1=45, **references)
    image.meta.instrument.filter = "F444W"
    with pytest.raises(InputError, match="no row for filter F444W, pupil CLEAR"):
        source_catalog(image, **references)
    image.meta.instrument.filter = "F200W"
    with pytest.raises(MissingReferenceError, match="2 rows for filter F200W, pupil CLEAR"):
        twice = vega()
        twice.abvega_offset["filter"] = "F200W"
        source_catalog(image, apcorr=references["apcorr"], abvegaoffset=twice)
    uneven = apcorr()
    uneven.apcorr_table["skyin"] += np.arange(8)
    with pytest.raises(MissingReferenceError, match="different rings"):
        source_catalog(image, apcorr=uneven, abvegaoffset=references["abvegaoffset"])


def test_vega_magnitudes_that_nobody_knows(references):
    image = mosaic()
    with pytest.warns(UserWarning, match="no abvegaoffset reference: Vega magnitudes are NaN"):
        cat = source_catalog(image, apcorr=references["apcorr"], abvegaoffset="N/A").cat
    assert np.isnan(cat["aper_total_vegamag"]).all()
    assert np.isfinite(cat["aper_total_abmag"]).any()
    other = vega()
    other.abvega_offset["filter"] = ["F070W", "F444W"]
    with pytest.warns(UserWarning, match="no row for filter F200W, pupil CLEAR: Vega"):
        cat = source_catalog(image, apcorr=references["apcorr"], abvegaoffset=other).cat
    assert np.isnan(cat["isophotal_vegamag"]).all()


def test_connectivity_may_be_a_word(references):
    image = mosaic()
    how = {"npixels": 6, "snr_threshold": 1.5, **references}
    four, eight = (source_catalog(image, connectivity=c, **how) for c in ("4", 8))
    assert np.array_equal(four.segm.data, source_catalog(image, connectivity=4, **how).segm.data)
    assert not np.array_equal(four.segm.data, eight.segm.data)
