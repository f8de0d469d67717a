"""Segments against photutils' own finder."""

import numpy as np
import pytest
from helpers_sources import mosaic
from photutils.segmentation import SourceCatalog, SourceFinder

from jwnb.errors import ParameterError
from jwnb.stage3.source_detection import Segmentation, StarFinding, find_segments, find_stars_of, smoothed
from jwnb.stage3.star_finding import sky_and_noise


@pytest.fixture(scope="module")
def field():
    model = mosaic()
    return model.data, model.err, np.isnan(model.err), model.meta.wcs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [
    Segmentation(), Segmentation(npixels=5, connectivity=4), Segmentation(deblend=False), Segmentation(multithresh_mode="sinh", nlevels=7),
    Segmentation(multithresh_mode="linear", contrast=0.0, npixels=8),
], ids=lambda how: how.multithresh_mode)  # fmt: skip
def test_segments_are_those_of_photutils(field, how):
    data, err, masked, wcs = field
    found = find_segments(data, err, masked, wcs, boxsize=1000, snr_threshold=3.0, fwhm=2.0, how=how)
    sky, noise, _ = sky_and_noise(data, masked, boxsize=1000)
    seen = smoothed(data - sky, masked, 2.0)
    finder = SourceFinder(
        how.npixels, connectivity=how.connectivity, deblend=how.deblend, n_levels=how.nlevels, contrast=how.contrast,
        mode=how.multithresh_mode, progress_bar=False,
    )  # fmt: skip
    segments = finder(seen, np.float32(3) * noise, mask=masked)
    assert np.array_equal(found.segments, segments.data)
    assert found.segments.dtype == segments.data.dtype
    sources = SourceCatalog(data - sky, segments, convolved_data=seen, error=err, mask=masked)
    assert np.array_equal(found.x, sources.x_centroid)
    assert np.array_equal(found.columns["isophotal_flux"], sources.segment_flux)
    assert found.kron == {}


@pytest.mark.filterwarnings("ignore")
def test_kron_columns(field):
    data, err, masked, wcs = field

    def flux(**how):
        made = find_segments(data, err, masked, wcs, boxsize=1000, snr_threshold=3.0, fwhm=2.0, how=Segmentation(kron=True, **how))
        assert set(made.kron) == {"kron_flux", "kron_flux_err", "kron_radius"}
        return made.kron["kron_flux"]

    plain = flux()
    assert np.isfinite(plain).mean() > 0.9
    assert not np.allclose(plain, flux(apermask_method="none"), equal_nan=True)
    assert not np.allclose(plain, flux(kron_params=(1.5, 1.0, 0.0)), equal_nan=True)


def test_nothing_to_find(field):
    data, err, masked, wcs = field
    how = {"boxsize": 1000, "snr_threshold": 1e6, "fwhm": 2.0}
    stars = StarFinding("dao", 2, 1.5, (0.2, 1.0), (-1.0, 1.0), None, None)
    assert find_segments(data, err, masked, wcs, how=Segmentation(), **how) is None
    assert find_stars_of(data, masked, how=stars, **how) is None
    for image, mask in ((data, np.ones_like(masked)), (np.full_like(data, np.nan), masked)):
        assert find_segments(image, err, mask, wcs, how=Segmentation(), **how) is None
        assert find_stars_of(image, mask, how=stars, **how) is None


def test_stars_have_no_segments_and_impossible_options_raise(field):
    data, _, masked, _ = field
    stars = {"separation": 2, "sigma_radius": 1.5, "sharpness": (0.2, 2.0), "roundness": (-1.0, 1.0), "brightest": 5}
    how = {"boxsize": 1000, "snr_threshold": 5.0, "fwhm": 2.0}
    found = find_stars_of(data, masked, how=StarFinding("iraf", peakmax=None, **stars), **how)
    assert found.segments is None
    assert found.label.tolist() == [1, 2, 3, 4, 5]
    faint = find_stars_of(data, masked, how=StarFinding("dao", peakmax=2.0, **stars), **how)
    assert data[np.rint(faint.y).astype(int), np.rint(faint.x).astype(int)].max() < 3
    with pytest.raises(ParameterError, match="starfinder='dao'"):
        find_stars_of(data, masked, how=StarFinding("dao", peakmax=None, **stars), **how | {"fwhm": -1.0})
